"""The text of an API key, and the look-up of the key that a request sends.

After ``crm_`` come 46 letters and digits: 40 random ones (238 bits), then their CRC-32 in base 62.
A scanner for leaked secrets finds keys with ``KEY_PATTERN`` and recognises real ones by the
checksum, without calling this service.
"""

import hashlib
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
from crm_api.platform.hot_reads import HotReads

PREFIX = "crm_"
RANDOM_CHARACTERS, CHECKSUM_CHARACTERS = 40, 6
KEY_PATTERN = re.compile(r"\bcrm_([0-9A-Za-z]{40})([0-9A-Za-z]{6})\b")
SHOWN_CHARACTERS = 8
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def generate_key() -> str:
    """Return a new key."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return PREFIX + random + key_checksum(random)


def key_checksum(random: str) -> str:
    """Return the six checksum characters for a key's random ones."""
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def is_miscopied(text: str) -> bool:
    """Return whether a text has a key's prefix but a wrong length or checksum."""
    if not text.startswith(PREFIX):
        return False
    found = KEY_PATTERN.fullmatch(text)
    return found is None or key_checksum(found[1]) != found[2]


def hash_key(key: str) -> bytes:
    """Return the stored hash of a key; a random key needs no slow hash."""
    return hashlib.sha256(key.encode()).digest()


@dataclass(frozen=True, kw_only=True)
class AuthenticatedKey:
    """An authenticated key."""

    id: UUID
    name: str
    scopes: frozenset[str]


FIND_API_KEYS = """
    SELECT key_hash, id, name, scopes, expires_at, revoked_at FROM api_key
    WHERE key_hash = ANY($1)
"""
"""Read what authentication needs of keys, also of revoked and expired ones; for ``HotReads``."""


@dataclass(frozen=True, slots=True)
class _FoundKey:
    """The columns of ``FIND_API_KEYS`` after the first, in their order."""

    id: UUID
    name: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None


async def authenticate_api_key(reads: HotReads, *, text: str, now: datetime) -> AuthenticatedKey:
    """Return the key with this text.

    Raises:
        InvalidCredentialsError: No key has this text.
        ApiKeyRevokedError: The key was revoked.
        ApiKeyExpiredError: The key has expired.
    """
    row = await reads.one(FIND_API_KEYS, hash_key(text))
    if row is None:
        raise InvalidCredentialsError(
            "This API key is not known here, and looks miscopied: its checksum does not fit. Copy "
            "it again as a whole."
            if is_miscopied(text)
            else "This API key is not known here. Check that it belongs to this service, or make "
            "one: POST /v1/api-keys, or `crm-api keys create`."
        )
    key = _FoundKey(*row)
    if key.revoked_at is not None:
        raise ApiKeyRevokedError(
            f"This API key was revoked at {format_instant(key.revoked_at)}. Use another one, "
            "or make one: POST /v1/api-keys, or `crm-api keys create`."
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise ApiKeyExpiredError(
            f"This API key expired at {format_instant(key.expires_at)}. Use the one that "
            "replaced it, or make one: POST /v1/api-keys, or `crm-api keys create`."
        )
    return AuthenticatedKey(id=key.id, name=key.name, scopes=frozenset(key.scopes))
