"""Write an event in the transaction of the change that it reports."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from crm_api.domain.kit.event_log.event_types import EventType
from crm_api.platform.database import UnitOfWork

RECORD = text("""
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES (:type, :subject_id, :campaign_id, :data)
""").bindparams(bindparam("data", type_=JSONB))


async def record_event(
    uow: UnitOfWork,
    *,
    type: EventType,  # noqa: A002 - the field's name
    subject_id: UUID | None,
    data: dict[str, Any] | None = None,
    campaign_id: UUID | None = None,
) -> None:
    """Add an event to the log in this transaction. Readers see it after the commit.

    Database triggers emit most events: see ``EMITTED_BY``. Do not record those changes again.

    Args:
        uow: The unit of work.
        type: The type of the event.
        subject_id: The id of the message, campaign, import or other resource that changed.
        data: Ids and states, without phone numbers and message bodies.
        campaign_id: The campaign to which the event belongs; None if it belongs to none.
    """
    values = {"type": type.value, "subject_id": subject_id, "campaign_id": campaign_id}
    await uow.session.execute(RECORD, {**values, "data": data or {}})
