"""Background jobs: each job function calls the domain."""
