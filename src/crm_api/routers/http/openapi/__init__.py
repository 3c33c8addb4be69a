"""Build the OpenAPI document: FastAPI makes it from the routes, and this package completes it."""
