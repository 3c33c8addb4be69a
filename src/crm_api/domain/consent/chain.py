"""The hash chain over the consent history: what a link covers, and whether it is correct.

A link's digest is HMAC-SHA256 over the previous digest and the entry, under a key derived from
``CRM_SECRET_KEY``. A person who can only write to the database cannot change, remove, insert or
reorder an entry without breaking a link. The words of an entry have their own digest, which is part
of the entry.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

START = bytes(32)
"""The digest before the first link."""
_FORMAT = "consent entry 1"
"""The first member of the hashed text of an entry without a claimed time."""
_FORMAT_WITH_CLAIM = "consent entry 2"
"""The same members, then ``claimed_at``."""


class ChainedEntry(NamedTuple):
    """The columns of an entry that its link covers: all of them."""

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
        """Return the bytes that the chain hashes: a JSON array without spaces, in UTF-8.

        Hashes are hexadecimal; times are in UTC with microseconds and ``+00:00``.
        """
        if self.claimed_at is None:
            return self.canonical_without_claim()
        return _written([_FORMAT_WITH_CLAIM, *self._members(), _instant(self.claimed_at)])

    def canonical_without_claim(self) -> bytes:
        """Return the bytes that releases without claimed times hash."""
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
    """Return the digest of a link from the previous link's digest and its entry."""
    return hmac.digest(key, previous + entry.canonical(), "sha256")


def is_link_digest(digest: bytes, key: bytes, previous: bytes, entry: ChainedEntry) -> bool:
    """Return whether a link's digest follows from the previous digest and its entry.

    During an upgrade, a worker of the previous release may link an entry that has a claimed time.
    That link does not cover the claimed time; every other link does.
    """
    if hmac.compare_digest(digest, link_digest(key, previous, entry)):
        return True
    older = hmac.digest(key, previous + entry.canonical_without_claim(), "sha256")
    return hmac.compare_digest(digest, older)


def wording_digest(salt: bytes, canonical: str) -> bytes:
    """Return the digest of an entry's words; ``canonical`` is their text from the database."""
    return hashlib.sha256(salt + canonical.encode()).digest()


@lru_cache(maxsize=4)
def chain_key(secret: bytes) -> bytes:
    """Derive the chain's key from the secret key."""
    return hmac.digest(secret, b"crm-api consent chain", "sha256")


@lru_cache(maxsize=4)
def key_id(secret: bytes) -> str:
    """Return a public name of the chain's key, by which a changed secret key is recognised."""
    return hmac.digest(chain_key(secret), b"key id", "sha256").hex()[:16]


def _written(values: list[object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")
