"""Row ids: UUID version 7 (RFC 9562), made by this service, not the database; sorted by time."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new id; later ids sort after earlier ones to the millisecond."""
    return uuid7()
