"""Create row ids: UUIDs of version 7 (RFC 9562). The service creates them, not the database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new id. Ids sort by their time of creation, to the millisecond."""
    return uuid7()


def smallest_id_at(instant: datetime) -> UUID:
    """Return the smallest id that can be created at an instant.

    The SQL function ``smallest_id_at`` returns the same value.
    """
    return UUID(int=(instant - _EPOCH) // _MILLISECOND << _RANDOM_BITS)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RANDOM_BITS = 80


def new_id_text() -> str:
    """Return a new id as text.

    This function takes 0.2 µs. ``str(new_id())`` takes 2.5 µs, because it creates a ``UUID``
    object.
    """
    return str(uuid_utils.uuid7())
