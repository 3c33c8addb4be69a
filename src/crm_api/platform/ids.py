"""Create row ids: UUIDs of version 7 (RFC 9562). The service creates them, not the database."""

from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new id. Ids sort by their time of creation, to the millisecond."""
    return uuid7()


def new_id_text() -> str:
    """Return a new id as text: 0.2 instead of 2.5 µs, because no ``UUID`` is built."""
    return str(uuid_utils.uuid7())
