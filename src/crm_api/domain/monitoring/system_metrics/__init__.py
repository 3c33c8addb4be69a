"""Read the figures of the whole system, and turn them into metrics."""
