"""The OpenAPI document: what FastAPI reads from the routes, and what it cannot know."""
