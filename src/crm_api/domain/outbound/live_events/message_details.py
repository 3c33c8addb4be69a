"""Read the details of a ``message.received`` event: phone number, contact and first words.

The details are read when an event is sent, and only for callers who may read messages. The event
log and the stored deliveries must not contain the details, because the erasure of a person does not
change the log or the deliveries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.event_log import LoggedEvent
from crm_api.platform.database import typed_rows

LONGEST_PREVIEW = 160
"""The largest number of characters of the preview of a message."""
ERASED = "erased:"
"""The beginning of the text that replaces the phone number of an erased person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MessageRow:
    id: UUID
    conversation_id: UUID | None
    phone: str | None
    body: str | None
    contact_id: UUID | None
    first_name: str | None
    last_name: str | None
    company: str | None


# For a message of a deleted contact, the result has no contact. For a message of a merged contact,
# the result has the contact into which the merged contact was merged.
READ_DETAILS = text("""
    SELECT a.id, a.conversation_id, a.phone, a.body, c.id AS contact_id, c.first_name, c.last_name,
           c.company
    FROM activity a LEFT JOIN contact c ON c.id = a.contact_id AND c.deleted_at IS NULL
    WHERE a.id = ANY(CAST(:ids AS uuid[]))
""")


async def read_message_details(
    session: AsyncSession, *, message_ids: Sequence[UUID]
) -> dict[UUID, dict[str, Any]]:
    """Return the contact, phone number, first words and conversation of messages, by message id.

    The values are meant as fields in the ``data`` of an event.
    """
    if not message_ids:
        return {}
    found = await session.execute(READ_DETAILS, {"ids": list(message_ids)})
    return {row.id: _details_of(row) for row in typed_rows(_MessageRow, found)}


def _details_of(row: _MessageRow) -> dict[str, Any]:
    is_erased = row.phone is None or row.phone.startswith(ERASED)
    contact = None
    if row.contact_id is not None:
        contact = {
            "id": str(row.contact_id),
            "first_name": row.first_name,
            "last_name": row.last_name,
            "company": row.company,
        }
    return {
        "conversation_id": None if row.conversation_id is None else str(row.conversation_id),
        "contact": contact,
        "phone": None if is_erased else row.phone,
        "body_preview": (row.body or "")[:LONGEST_PREVIEW],
    }


async def with_message_details(
    session: AsyncSession, events: Sequence[LoggedEvent]
) -> dict[UUID, LoggedEvent]:
    """Return the ``message.received`` events, each with the details of its message in ``data``.

    The details include the contact and the beginning of the text. Other events are left out.

    Returns:
        The events, by the id of the message.
    """
    received = [
        event
        for event in events
        if event.type == EventType.MESSAGE_RECEIVED and event.subject_id is not None
    ]
    ids = [event.subject_id for event in received if event.subject_id is not None]
    details = await read_message_details(session, message_ids=ids)
    return {
        event.subject_id: replace(event, data=event.data | details[event.subject_id])
        for event in received
        if event.subject_id in details
    }
