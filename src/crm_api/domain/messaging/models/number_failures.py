"""The tables of failed messages, and of phone numbers to which the provider does not send.

The provider refuses messages to people who opted out at the provider. Its API does not list these
people, so the service learns their numbers from failed messages.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ProviderStopStatus(StrEnum):
    """The state of an entry of the provider's stop list.

    Attributes:
        OPEN: The provider refuses the number, but it is not opted out in this service.
        AGREED: The provider refuses the number, and it is opted out in this service too.
        RECOVERED: A later message to the number was delivered.
        RESOLVED: A user resolved the entry.
    """

    OPEN = "open"
    AGREED = "agreed"
    RECOVERED = "recovered"
    RESOLVED = "resolved"


class ProviderStop(Base):
    """A number that the provider refuses, because the person opted out at the provider.

    The first refused message creates the row. Further refused messages update the row, until a user
    marks the row as resolved. After that, the next refused message creates a new row.
    """

    __tablename__ = "provider_stop"
    __table_args__ = (
        Index(
            "uq_provider_stop_phone",
            "phone",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index("idx_provider_stop_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    phone: Mapped[str]
    line_id: Mapped[UUID]
    code: Mapped[str]
    message_id: Mapped[UUID]
    """The last message to the number that the provider refused."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    first_failed_at: Mapped[datetime]
    last_failed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
    note: Mapped[str | None]


class FailureKind(StrEnum):
    """What the error code of a failed message says about the number."""

    STOP = "stop"
    """The person opted out at the provider, so the provider refuses the number."""
    LANDLINE = "landline"
    """The number cannot receive text messages."""
    UNREACHABLE = "unreachable"
    """The number does not exist or is no longer in service."""


KIND_OF_CODE: Mapping[str, FailureKind] = {
    "21610": FailureKind.STOP,
    "30006": FailureKind.LANDLINE,
    "21614": FailureKind.LANDLINE,
    "30005": FailureKind.UNREACHABLE,
    "21211": FailureKind.UNREACHABLE,
}
"""Maps an error code of the provider to what the code says about the number.

An error code that is not in this table says nothing permanent about the number. Examples are 30003
(the phone is switched off or out of reach), 30007 (filtered as spam), 30008 (unknown), and all
codes with which the provider refuses the account.

Source: OpenPhone passes on the codes of carriers as text, with the numbers that Twilio uses. Their
meanings: Twilio changelog, "Updates to the error code dictionary", and SleekFlow help centre,
"Troubleshooting your Twilio SMS channel", both read 2026-11-28.
"""
PERMANENT = (FailureKind.LANDLINE, FailureKind.UNREACHABLE)
"""The kinds of failures that are permanent. Two permanent failures make a number invalid."""


class NumberFailure(Base):
    """A failed message whose error code says something lasting about the phone number.

    For example, the number is a landline (see ``FailureKind``). The row is written when the failure
    is recorded. The job ``learn_from_failures`` evaluates the row later.
    """

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
    """The provider's error code of the failure."""
    line_id: Mapped[UUID]
    activity_id: Mapped[UUID]
    """The message that failed."""
    failed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    learned_at: Mapped[datetime | None]
    """When the job that learns from failures evaluated this failure; None if it has not done so
    yet."""
    counted_at: Mapped[datetime | None]
    """When this failure was used to mark the number as invalid; None if it was not used. A failure
    is used only once. So if a user removes the flag ``invalid_number``, old failures do not set it
    again."""
