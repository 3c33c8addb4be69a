"""The tables of reminder rules, and of the reminders that the rules made."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id

MOST_HOURS = 336
"""The longest time between a reminder and the start of the appointment, in hours: two weeks."""


class ReminderStatus(StrEnum):
    """What happened to a reminder.

    Attributes:
        WAITING: Not sent yet, for the reason in `reason`. The service tries again.
        QUEUED: The message is in the queue or was sent; see the status of the message.
        SKIPPED: The reminder will not be sent, for the reason in `reason`.
    """

    WAITING = "waiting"
    QUEUED = "queued"
    SKIPPED = "skipped"


class ReminderReason(StrEnum):
    """Why a reminder waits, or is not sent.

    Attributes:
        OPTED_OUT: The person opted out.
        CONTACT_DELETED: The contact was deleted.
        DO_NOT_CONTACT: The phone number must not get any message.
        INVALID_NUMBER: The phone number cannot get messages.
        OPT_OUT_HOLD: A reply may be an opt-out, and a user must decide about it.
        OUTSIDE_HOURS: The law forbids messages at this local time of the person.
        TOO_MANY_MESSAGES: The person already got as many messages as the law allows.
        LINE_BLOCKED: The phone line is blocked.
        MISSING_VALUE: The contact lacks a value that the message needs.
        TEXT_FAILED: The message cannot be rendered, or is too long.
    """

    OPTED_OUT = "opted_out"
    CONTACT_DELETED = "contact_deleted"
    DO_NOT_CONTACT = "do_not_contact"
    INVALID_NUMBER = "invalid_number"
    OPT_OUT_HOLD = "opt_out_hold"
    OUTSIDE_HOURS = "outside_hours"
    TOO_MANY_MESSAGES = "too_many_messages"
    LINE_BLOCKED = "line_blocked"
    MISSING_VALUE = "missing_value"
    TEXT_FAILED = "text_failed"


class ReminderRule(Base):
    """A rule that sends a reminder before each appointment of certain kinds.

    ``hours_before`` is the time between the reminder and the start of the appointment, in hours.
    """

    __tablename__ = "reminder_rule"
    __table_args__ = (
        CheckConstraint(f"hours_before BETWEEN 1 AND {MOST_HOURS}", name="hours_before"),
        Index("idx_reminder_rule_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    line_id: Mapped[UUID] = mapped_column(ForeignKey("line.id"))
    body: Mapped[str]
    """The message in Liquid."""
    hours_before: Mapped[int] = mapped_column(SmallInteger)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """The kinds of appointments that get the reminder."""
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    author: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class AppointmentReminder(Base):
    """A reminder that a rule made for one start time of an appointment.

    If the appointment is moved, the rule makes another reminder for the new start.
    """

    __tablename__ = "appointment_reminder"
    __table_args__ = (
        CheckConstraint(one_of("status", ReminderStatus), name="status"),
        CheckConstraint(one_of("reason", ReminderReason), name="reason"),
        UniqueConstraint("appointment_id", "rule_id", "starts_at"),
        Index(
            "idx_appointment_reminder_queued",
            "starts_at",
            postgresql_where=text("status = 'queued'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    rule_id: Mapped[UUID] = mapped_column(ForeignKey("reminder_rule.id", ondelete="CASCADE"))
    appointment_id: Mapped[UUID] = mapped_column(ForeignKey("appointment.id", ondelete="CASCADE"))
    starts_at: Mapped[datetime]
    """The start of the appointment at the time when the reminder was created."""
    status: Mapped[str]
    reason: Mapped[str | None]
    try_at: Mapped[datetime]
    """When a waiting reminder is tried again."""
    activity_id: Mapped[UUID | None]
    """The id of the message of the reminder; None if it has no message."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
