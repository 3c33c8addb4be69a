"""Emit an event when a user or API key (the caller) reads messages or changes a draft."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.event_log import EventType
from crm_api.platform.database import UnitOfWork

# The fields of `emit_conversation_event.sql`, and the caller for whom the conversation changed.
RECORD_OWN_CHANGE = text(f"""
    INSERT INTO event (type, subject_id, data)
    SELECT '{EventType.CONVERSATION_CHANGED.value}', k.id, jsonb_build_object(
        'conversation_id', k.id, 'line_id', k.line_id, 'contact_id', k.contact_id,
        'state', k.state, 'waiting_since', k.waiting_since, 'assignee_id', k.assignee_id,
        'snoozed_until', k.snoozed_until, 'user_id', CAST(:caller_id AS text))
    FROM conversation k WHERE k.id = ANY(CAST(:ids AS uuid[]))
""")


async def emit_own_change(
    uow: UnitOfWork, *, conversation_ids: Collection[UUID], caller_id: str
) -> None:
    """Emit ``conversation.changed``, so that the caller's other screens show the change.

    Event streams have no filter by user, so every client gets the event. Therefore the event names
    the caller, but contains neither what the caller has read nor the draft. Webhook endpoints do
    not get the event.
    """
    if conversation_ids:
        values = {"ids": list(conversation_ids), "caller_id": caller_id}
        await uow.session.execute(RECORD_OWN_CHANGE, values)
