"""What a route says about itself for the OpenAPI document: ``openapi_extra=fails_with(...)``.

``routers/http/openapi`` reads these notes and removes them from the document.
"""

import json
from typing import Any

PROBLEMS = "x-problems"
SHOWN = "x-shown"


def fails_with(*codes: str) -> dict[str, Any]:
    """Name the problems that only the use case behind a route decides.

    Those that follow from the shape of the route are added by rule: authentication, reading of the
    body, paging, ids in the path. If one of ``codes`` ends in ``_not_found``, ``codes`` has all
    such problems of the route. The client of the tests compares every answer with the document, so
    a missing code fails a test.
    """
    return {PROBLEMS: codes}


def shows(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Name the fields of the answer whose example differs from that of the model."""
    # As text, because FastAPI removes all null members from its document.
    return {SHOWN: json.dumps(fields)}
