"""Create notes about a route, such as its error codes, for the OpenAPI document.

Example: ``@router.post("/v1/files", openapi_extra=fails_with("too_large"))``. The package
``routers/http/openapi`` completes the document with the notes, and removes the notes from it.
"""

import json
from typing import Any

PROBLEMS = "x-problems"
SHOWN = "x-shown"


def fails_with(*codes: str) -> dict[str, Any]:
    """Return a note with the error codes of a route, for the OpenAPI document.

    Do not pass the codes for authentication, the request body, paging, and each id in the path.
    These codes are added automatically. But if you pass a code that ends in ``_not_found``, no
    codes for the ids in the path are added. Then pass the codes for these ids too.
    """
    return {PROBLEMS: codes}


def shows(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a note that sets field values in the example response of a route.

    The note is for the OpenAPI document. It is passed to the route as ``openapi_extra``.
    """
    # The fields are stored as JSON text, because FastAPI would remove null values from the OpenAPI
    # document.
    return {SHOWN: json.dumps(fields)}
