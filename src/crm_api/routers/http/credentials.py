"""Read a request's credentials from the header ``Authorization``, never from the address.

Credentials in an address are refused even if they are valid: logs and browser histories keep
addresses.
"""

import re
from urllib.parse import parse_qsl

from starlette.types import Scope

from crm_api.domain.kit.errors import UnauthenticatedError

REFRESH_COOKIE = "crm_refresh"

_NAMES = frozenset(
    {"access_token", "api_key", "api-key", "apikey", "authorization", "token", "x-api-key"}
)
"""Names that clients of other services use for such a parameter, in lower case."""
_TOKEN = re.compile(r"crm[rst]?_[A-Za-z0-9_-]{16,}")


class CredentialsInAddressError(UnauthenticatedError):
    """The query string contains a key or a token."""

    code = "credentials_in_address"
    title = "Credentials in the address"

    def __init__(self) -> None:
        super().__init__(
            "The address contains a key or token, and logs and browser histories keep addresses. "
            "Send it in the header `Authorization: Bearer <it>`. Replace this one: another person "
            "may have read it."
        )


def bearer_token(scope: Scope) -> str | None:
    """Return the token of ``Authorization: Bearer``; None if the request has none.

    The case of the scheme does not matter. Spaces around the token are removed.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return (token.strip() or None) if scheme.lower() == "bearer" else None
    return None


def refuse_in_address(scope: Scope) -> None:
    """Refuse a request with credentials in its query string.

    Raises:
        CredentialsInAddressError: A parameter has such a name, or a value that looks like a token.
    """
    query: bytes = scope["query_string"]
    if not query or not scope["path"].startswith("/v1/"):
        return
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _NAMES or _TOKEN.fullmatch(value.removeprefix("Bearer ")):
            raise CredentialsInAddressError
