"""The OpenAPI document: what FastAPI reads from the routes, and what is added to it."""
