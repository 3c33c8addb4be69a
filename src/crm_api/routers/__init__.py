"""HTTP routes: each parses the request, calls one use case, and builds the response."""
