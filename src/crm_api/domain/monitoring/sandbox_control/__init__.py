"""Control the sandbox (its clock, people and faults), for developers of a client."""
