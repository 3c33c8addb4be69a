"""Notes at a route for the OpenAPI document, such as ``openapi_extra=fails_with("too_large")``.

``routers/http/openapi`` reads the notes and removes them from the document.
"""

import json
from typing import Any

PROBLEMS = "x-problems"
SHOWN = "x-shown"


def fails_with(*codes: str) -> dict[str, Any]:
    """List the error codes that only the use case of a route can cause.

    Codes that follow from the route itself (authentication, request body, paging, ids in the path)
    are added automatically. If you name a code that ends in ``_not_found``, name all such codes of
    the route. If a code is missing, a test fails, because the tests compare every response with the
    document.
    """
    return {PROBLEMS: codes}


def shows(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Set the values of these fields in the example of the route's response."""
    # Stored as text, because FastAPI removes null values from its document.
    return {SHOWN: json.dumps(fields)}
