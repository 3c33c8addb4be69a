"""Credentials in an address are refused, however good they are: logs and histories keep it."""

import re
from urllib.parse import parse_qsl

from starlette.types import Scope

from crm_api.domain.errors import UnauthenticatedError

_NAMES = frozenset(
    {"access_token", "api_key", "api-key", "apikey", "authorization", "token", "x-api-key"}
)
"""What clients of other services call it."""
_TOKEN = re.compile(r"crm[rst]?_[A-Za-z0-9_-]{16,}")


class CredentialsInAddressError(UnauthenticatedError):
    """A key or a token stands in the query string."""

    code = "credentials_in_address"
    title = "Credentials in the address"

    def __init__(self) -> None:
        super().__init__(
            "A key or token does not belong in an address, which logs and histories keep. Send it "
            "as `Authorization: Bearer <it>`, and replace this one: it may have been read."
        )


def refuse_in_address(scope: Scope) -> None:
    """Refuse a request with credentials in its query string.

    Raises:
        CredentialsInAddressError: There are some, by name or by their looks.
    """
    query: bytes = scope["query_string"]
    if not query or not scope["path"].startswith("/v1/"):
        return
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _NAMES or _TOKEN.fullmatch(value.removeprefix("Bearer ")):
            raise CredentialsInAddressError
