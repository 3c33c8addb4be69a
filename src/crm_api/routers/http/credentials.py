"""Read a request's credentials from the header ``Authorization``, never from the URL.

A request with credentials in its URL is refused even if they are valid, because logs and browser
histories store URLs.
"""

import re
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Scope

from crm_api.domain.kit.errors import UnauthenticatedError

REFRESH_COOKIE = "crm_refresh"

_NAMES = frozenset(
    {"access_token", "api_key", "api-key", "apikey", "authorization", "token", "x-api-key"}
)
"""Names of query parameters, in lower case, in which other services accept credentials."""
_TOKEN = re.compile(r"crm[rst]?_[A-Za-z0-9_-]{16,}")


class CredentialsInAddressError(UnauthenticatedError):
    """The query string of the URL contains an API key or a token."""

    code = "credentials_in_address"
    title = "Credentials in the address"
    detail = (
        "The query string contains an API key or a token. Logs and browser histories store "
        "URLs, so other people may have seen the key or token. Create a new one, and send it "
        "in the header `Authorization: Bearer <key or token>`."
    )


def bearer_token(scope: Scope) -> str | None:
    """Return the API key or token in the header ``Authorization: Bearer``; None without a token.

    ``bearer`` may be in upper or lower case. Spaces around the token are removed.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return (token.strip() or None) if scheme.lower() == "bearer" else None
    return None


def refuse_in_address(scope: Scope) -> None:
    """Refuse a request with credentials in its query string.

    Raises:
        CredentialsInAddressError: A query parameter has a usual name for credentials, such as
            ``api_key``, or its value looks like an API key or a token of this service.
    """
    query: bytes = scope["query_string"]
    if not query or not scope["path"].startswith("/v1/"):
        return
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _NAMES or _TOKEN.fullmatch(value.removeprefix("Bearer ")):
            raise CredentialsInAddressError


def client_address(request: Request) -> str:
    """Return the IP address of the client; empty if the server does not know it."""
    return request.client.host if request.client else ""
