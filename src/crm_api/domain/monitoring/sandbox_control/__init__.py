"""Control of the sandbox for developers of a client: its time, its people, its faults."""
