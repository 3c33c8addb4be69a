"""Compute and check the digests of the hash chain over the consent history.

The digest of a link is HMAC-SHA256 over the digest of the previous link and the consent entry. The
key is derived from ``CRM_SECRET_KEY``. The consent entry contains only a digest of its personal
data, so the chain remains valid if the personal data are erased.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

START = bytes(32)
"""The value that the first link uses as the digest of the previous link."""
_FORMAT = "consent entry 1"
"""The first element of the hashed JSON array, if the array does not contain ``claimed_at``."""
_FORMAT_WITH_CLAIM = "consent entry 2"
"""The first element of the hashed JSON array, if the array contains ``claimed_at``."""


class ChainedEntry(NamedTuple):
    """A consent entry with all the fields that the hash chain protects against changes."""

    id: int
    phone_hash: bytes
    contact_id: UUID | None
    action: str
    source: str
    actor: str
    activity_id: UUID | None
    occurred_at: datetime
    created_at: datetime
    wording_digest: bytes | None
    claimed_at: datetime | None

    def canonical(self) -> bytes:
        """Return the bytes that are hashed: the columns of the entry as JSON, in UTF-8.

        The JSON is an array without spaces. ``phone_hash`` and ``wording_digest`` are written in
        hexadecimal. Times are in UTC, with microseconds and ``+00:00``.
        """
        if self.claimed_at is None:
            return self.canonical_without_claim()
        return _written([_FORMAT_WITH_CLAIM, *self._members(), _instant(self.claimed_at)])

    def canonical_without_claim(self) -> bytes:
        """Return the bytes from which older releases computed the digest of this entry.

        These bytes do not contain ``claimed_at``. This is the time at which the message with the
        decision was sent, by the provider's clock.
        """
        return _written([_FORMAT, *self._members()])

    def _members(self) -> list[object]:
        return [
            self.id,
            self.phone_hash.hex(),
            None if self.contact_id is None else str(self.contact_id),
            self.action,
            self.source,
            self.actor,
            None if self.activity_id is None else str(self.activity_id),
            _instant(self.occurred_at),
            _instant(self.created_at),
            None if self.wording_digest is None else self.wording_digest.hex(),
        ]


def link_digest(key: bytes, previous: bytes, entry: ChainedEntry) -> bytes:
    """Compute the digest of a consent entry in the hash chain.

    Args:
        key: The secret key.
        previous: The digest of the entry before this one in the chain.
        entry: The consent entry.
    """
    return hmac.digest(key, previous + entry.canonical(), "sha256")


def is_link_digest(digest: bytes, key: bytes, previous: bytes, entry: ChainedEntry) -> bool:
    """Return whether ``digest`` is the correct digest of a consent entry in the hash chain.

    A digest that was computed without ``claimed_at`` is correct too, because older releases did not
    hash this field.

    Args:
        previous: The digest of the previous entry in the chain.
    """
    if hmac.compare_digest(digest, link_digest(key, previous, entry)):
        return True
    older = hmac.digest(key, previous + entry.canonical_without_claim(), "sha256")
    return hmac.compare_digest(digest, older)


def wording_digest(salt: bytes, canonical: str) -> bytes:
    """Return the salted SHA-256 digest of the personal data of a consent entry.

    Args:
        salt: The random salt that is stored with the personal data.
        canonical: The personal data as one text, made by the SQL expression ``CANONICAL_WORDING``.
    """
    return hashlib.sha256(salt + canonical.encode()).digest()


@lru_cache(maxsize=4)
def chain_key(secret: bytes) -> bytes:
    """Derive the key of the hash chain over the consent history from the service's secret key."""
    return hmac.digest(secret, b"crm-api consent chain", "sha256")


@lru_cache(maxsize=4)
def key_id(secret: bytes) -> str:
    """Return the public id of the key of the hash chain; the id does not reveal the key."""
    return hmac.digest(chain_key(secret), b"key id", "sha256").hex()[:16]


def _written(values: list[object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")
