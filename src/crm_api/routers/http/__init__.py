"""Helpers that all routes share: error responses, preconditions, paging, rate limits, OpenAPI."""
