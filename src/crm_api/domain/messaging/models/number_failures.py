"""Failed messages whose error code describes their number."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class FailureKind(StrEnum):
    """What an error code says about the number."""

    STOP = "stop"
    """The number is on the provider's stop list: the person opted out there."""
    LANDLINE = "landline"
    """The number cannot receive text messages."""
    UNREACHABLE = "unreachable"
    """The number does not exist, or is not in service any more."""


KIND_OF_CODE: Mapping[str, FailureKind] = {
    "21610": FailureKind.STOP,
    "30006": FailureKind.LANDLINE,
    "21614": FailureKind.LANDLINE,
    "30005": FailureKind.UNREACHABLE,
    "21211": FailureKind.UNREACHABLE,
}
"""The error codes of the provider that describe the number, not only this one message.

The other codes say nothing lasting about the number: 30003 (switched off or out of reach), 30007
(filtered as spam), 30008 (unknown), and all refusals of the account.

Source: OpenPhone passes carrier codes on as text, numbered as Twilio's. Their meanings: Twilio
changelog, "Updates to the error code dictionary", and SleekFlow help centre, "Troubleshooting your
Twilio SMS channel", both read 2026-11-28.
"""
PERMANENT = (FailureKind.LANDLINE, FailureKind.UNREACHABLE)
"""Kinds of failures; two of them make a number invalid."""


class NumberFailure(Base):
    """One failed message; written when the failure is recorded, evaluated later by a job."""

    __tablename__ = "number_failure"
    __table_args__ = (
        CheckConstraint(one_of("kind", FailureKind), name="kind"),
        Index("uq_number_failure_activity_id", "activity_id", unique=True),
        Index("idx_number_failure_phone", "phone"),
        Index("idx_number_failure_new", "phone", postgresql_where=text("learned_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    phone: Mapped[str]
    kind: Mapped[str]
    code: Mapped[str]
    """The provider's error code."""
    line_id: Mapped[UUID]
    activity_id: Mapped[UUID]
    """The message."""
    failed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    learned_at: Mapped[datetime | None]
    counted_at: Mapped[datetime | None]
    """When it was counted to mark the number invalid. It does not count a second time, so a person
    can end the flag."""
