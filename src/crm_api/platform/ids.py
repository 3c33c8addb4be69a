"""Create row ids: UUIDs of version 7 (RFC 9562). The service creates them, not the database."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new id. Ids sort by their time of creation, to the millisecond."""
    return uuid7()
