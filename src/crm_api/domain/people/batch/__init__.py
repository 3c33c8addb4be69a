"""Change many contacts in one request, with a result for each change."""
