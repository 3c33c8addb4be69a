"""What happened, in order: the durable log that frontends follow."""
