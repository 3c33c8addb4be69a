"""Read the state of the whole service from the database, and return it as Prometheus metrics."""
