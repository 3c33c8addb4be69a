"""The chain over the consent history: what is hashed, and whether a link fits.

A link's digest is HMAC-SHA256 over the digest before it and the entry, under a key derived from
``CRM_SECRET_KEY``. So nobody who can only write to the database can change, remove, insert or
reorder an entry without a link that fits no more; the words are covered by their own digest,
which is part of the entry.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

START = bytes(32)
"""What comes before the first link."""
_FORMAT = "consent entry 1"
"""Begins the hashed text, so that another form can come one day."""


class ChainedEntry(NamedTuple):
    """What a link covers of an entry: all of it."""

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

    def canonical(self) -> bytes:
        """Write the entry as the chain hashes it: a JSON array without spaces, in UTF-8.

        Hashes are in hexadecimal, times in UTC with microseconds and ``+00:00``.
        """
        values = [
            _FORMAT,
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
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def link_digest(key: bytes, previous: bytes, entry: ChainedEntry) -> bytes:
    """Return what a link holds of the one before it and its entry."""
    return hmac.digest(key, previous + entry.canonical(), "sha256")


def wording_digest(salt: bytes, canonical: str) -> bytes:
    """Return what an entry holds of its words; ``canonical`` as the database writes them."""
    return hashlib.sha256(salt + canonical.encode()).digest()


@lru_cache(maxsize=4)
def chain_key(secret: bytes) -> bytes:
    """Derive the chain's key from the secret key."""
    return hmac.digest(secret, b"crm-api consent chain", "sha256")


@lru_cache(maxsize=4)
def key_id(secret: bytes) -> str:
    """Name the chain's key without telling it, so that a changed secret key is told as such."""
    return hmac.digest(chain_key(secret), b"key id", "sha256").hex()[:16]


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")
