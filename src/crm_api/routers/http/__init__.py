"""Code that all routes share: problems, preconditions, paging, rate limits, OpenAPI."""
