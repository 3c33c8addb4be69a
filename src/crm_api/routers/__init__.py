"""HTTP routes: parse the request, call one use case, shape the answer."""
