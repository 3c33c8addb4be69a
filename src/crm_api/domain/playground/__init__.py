"""The sandbox, as developers of a frontend steer it: its time, its people, its faults."""
