"""Generate the text of API keys, and find the key that a request sends.

A key consists of ``crm_``, 40 random letters and digits (238 bits), and a checksum of 6 characters.
The checksum is the CRC-32 of the random part, in base 62. Scanners for leaked secrets can use
``KEY_PATTERN`` and the checksum.
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crm_api.domain.identity.api_keys.errors import (
    ApiKeyExpiredError,
    ApiKeyRevokedError,
    InvalidCredentialsError,
)
from crm_api.domain.kit.schemas import format_instant
from crm_api.platform.encryption import hash_token
from crm_api.platform.hot_reads import HotReads

PREFIX = "crm_"
RANDOM_CHARACTERS, CHECKSUM_CHARACTERS = 40, 6
KEY_PATTERN = re.compile(r"\bcrm_([0-9A-Za-z]{40})([0-9A-Za-z]{6})\b")
SHOWN_CHARACTERS = 8
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def generate_key() -> str:
    """Return the text of a new random API key."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return PREFIX + random + key_checksum(random)


def key_checksum(random: str) -> str:
    """Return the 6 checksum characters for the 40 random characters of a key."""
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def is_miscopied(text: str) -> bool:
    """Return whether a text begins like an API key but has a wrong length or checksum."""
    if not text.startswith(PREFIX):
        return False
    found = KEY_PATTERN.fullmatch(text)
    return found is None or key_checksum(found[1]) != found[2]


@dataclass(frozen=True, kw_only=True)
class AuthenticatedKey:
    """The API key that a request has sent: it exists, is not revoked and has not expired."""

    id: UUID
    name: str
    scopes: frozenset[str]


FIND_API_KEYS = """
    SELECT key_hash, id, name, scopes, expires_at, revoked_at FROM api_key
    WHERE key_hash = ANY($1)
"""
"""SQL that reads the API keys with the given hashes, including revoked and expired keys.

``HotReads`` runs this statement once for several requests.
"""


@dataclass(frozen=True, slots=True)
class _FoundKey:
    """A row of the query ``FIND_API_KEYS``, without the first column (``key_hash``).

    The fields are in the order of the columns.
    """

    id: UUID
    name: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None


async def authenticate_api_key(reads: HotReads, *, text: str, now: datetime) -> AuthenticatedKey:
    """Return the valid API key that has this text.

    Raises:
        InvalidCredentialsError: There is no key with this text.
        ApiKeyRevokedError: The key was revoked.
        ApiKeyExpiredError: The key has expired.
    """
    row = await reads.one(FIND_API_KEYS, hash_token(text))
    if row is None:
        raise InvalidCredentialsError(
            "This API key does not exist. Its checksum is wrong, so it was probably not copied "
            "completely. Copy the whole key again."
            if is_miscopied(text)
            else "This API key does not exist. Check that it was made by this service, or create a "
            "new key: POST /v1/api-keys, or `crm-api keys create`."
        )
    key = _FoundKey(*row)
    if key.revoked_at is not None:
        raise ApiKeyRevokedError(
            f"This API key was revoked at {format_instant(key.revoked_at)}. Use another key, or "
            "create a new key: POST /v1/api-keys, or `crm-api keys create`."
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise ApiKeyExpiredError(
            f"This API key expired at {format_instant(key.expires_at)}. Use the key that replaced "
            "it, or create a new key: POST /v1/api-keys, or `crm-api keys create`."
        )
    return AuthenticatedKey(id=key.id, name=key.name, scopes=frozenset(key.scopes))
