"""The event log: a record of each change, for clients and webhook endpoints that follow changes.

An event is written in the transaction of the change that it reports.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base, UnitOfWork


class EventType(StrEnum):
    """The type of an event: the kind of change that it reports."""

    MESSAGE_RECEIVED = "message.received"
    """A person sent a message to a phone line."""
    MESSAGE_STATUS = "message.status"
    """An outgoing message is new, or its status changed."""
    CALL_STATUS = "call.status"
    """A phone call began, or its status changed."""
    CAMPAIGN_STATUS = "campaign.status"
    CAMPAIGN_COUNTERS = "campaign.counters"
    """The counts of a campaign changed. Streams send this event at most once a second for each
    campaign."""
    IMPORT_PROGRESS = "import.progress"
    CONTACT_CREATED = "contact.created"
    """A contact was created, but not by an import. Imports emit ``import.progress`` instead."""
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    ALERT = "alert"
    """An alert was opened, acknowledged or resolved."""
    TASK_CHANGED = "task.changed"
    """A task was created, changed or deleted."""
    CONVERSATION_CHANGED = "conversation.changed"
    """The state, waiting time, snooze, assignee or contact of a conversation changed. An event
    with ``user_id`` means that this user read messages or changed a draft."""
    CONVERSATION_PRESENCE = "conversation.presence"
    """A user views a conversation or writes in it. The event is stored for a minute."""
    APPOINTMENT_CHANGED = "appointment.changed"
    """An appointment was booked or changed."""


EMITTED_BY: dict[EventType, tuple[str, ...]] = {
    EventType.MESSAGE_RECEIVED: ("emit_received_message_event.sql",),
    EventType.MESSAGE_STATUS: ("emit_new_message_event.sql", "emit_message_status_event.sql"),
    EventType.CALL_STATUS: ("emit_call_status_event.sql",),
    EventType.CAMPAIGN_STATUS: ("emit_campaign_status_event.sql",),
    EventType.CAMPAIGN_COUNTERS: ("emit_campaign_counters_event.sql",),
    EventType.IMPORT_PROGRESS: (),
    EventType.CONTACT_CREATED: ("emit_new_contact_events.sql", "emit_revived_contact_event.sql"),
    EventType.OPT_OUT: ("emit_opt_out_events.sql",),
    EventType.OPT_IN: ("emit_opt_out_events.sql",),
    EventType.ALERT: ("emit_alert_event.sql",),
    EventType.TASK_CHANGED: ("emit_task_event.sql",),
    EventType.CONVERSATION_CHANGED: ("emit_conversation_event.sql",),
    EventType.CONVERSATION_PRESENCE: (),
    EventType.APPOINTMENT_CHANGED: ("emit_appointment_event.sql",),
}
"""For each event type, the files in ``migrations/objects`` whose triggers emit events of this type.

If a type has no file, only Python code emits its events. Python code also emits some events of the
types that have a file.
"""


class Event(Base):
    """One event, written in the transaction of the change that it reports.

    An event can become visible after events with higher ids, because ids are assigned before the
    commit. To miss no event, read events in the order of ``transaction_id``, and stop before the
    oldest transaction that is still running.
    """

    __tablename__ = "event"
    __table_args__ = (
        CheckConstraint(one_of("type", EventType), name="type"),
        Index(
            "idx_event_presence",
            "recorded_at",
            postgresql_where=text("type = 'conversation.presence'"),
        ),
    )

    transaction_id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::bigint")
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str]
    subject_id: Mapped[UUID | None]
    """The id of what has changed, such as a message, a campaign or an import."""
    campaign_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Ids and states, without phone numbers and message bodies."""
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class EventHorizon(Base):
    """The position of the last event that was deleted from the log.

    A reader that wants to continue at an earlier position has missed events.
    """

    __tablename__ = "event_horizon"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[int] = mapped_column(BigInteger)


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

    Most events are added by database triggers (see ``EMITTED_BY``). Do not add such an event again.

    Args:
        subject_id: The id of the message, campaign, import or other resource that changed.
        data: Ids and states, without phone numbers and message bodies.
    """
    values = {"type": type.value, "subject_id": subject_id, "campaign_id": campaign_id}
    await uow.session.execute(RECORD, {**values, "data": data or {}})
