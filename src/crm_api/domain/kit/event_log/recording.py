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
    """Add an event to the log in this transaction; readers see it after the commit.

    Do not record changes of messages, campaigns, opt-outs and alerts: database triggers do it.

    Args:
        data: Ids and states, without phone numbers and message bodies.
    """
    values = {"type": type.value, "subject_id": subject_id, "campaign_id": campaign_id}
    await uow.session.execute(RECORD, {**values, "data": data or {}})
