"""The tables of outcomes, and of the people that they are about."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id

CURRENCY = "USD"
"""The currency of all amounts. The service sends only to phone numbers of the United States."""


class OutcomeKind(StrEnum):
    """What happened.

    Attributes:
        APPOINTMENT_BOOKED: The person agreed to the date of an appointment.
        APPOINTMENT_HELD: The appointment took place.
        QUOTE_SENT: The person got a quote.
        QUOTE_APPROVED: The person accepted a quote.
        JOB_DONE: The work was done.
        INVOICE_PAID: The person paid an invoice.
        CUSTOM: Something else; `name` says what.
    """

    APPOINTMENT_BOOKED = "appointment_booked"
    APPOINTMENT_HELD = "appointment_held"
    QUOTE_SENT = "quote_sent"
    QUOTE_APPROVED = "quote_approved"
    JOB_DONE = "job_done"
    INVOICE_PAID = "invoice_paid"
    CUSTOM = "custom"


class OutcomeSource(StrEnum):
    """How the service learned of an outcome.

    Attributes:
        PERSON: A user recorded it.
        IMPORT: It was in an imported file.
        CALENDAR: It was in a calendar.
        API: Another system recorded it.
    """

    PERSON = "person"
    IMPORT = "import"
    CALENDAR = "calendar"
    API = "api"


class Outcome(Base):
    """A result of the work with a person: an appointment, a quote, a job, a payment.

    A trigger prevents every change of a row (``migrations/objects/refuse_change.sql``). To correct
    a mistake, a reversal is added. It is a second row, with the negative amount.

    Data about the person are only in ``outcome_subject``, where an erasure removes them.
    """

    __tablename__ = "outcome"
    __table_args__ = (
        CheckConstraint(one_of("kind", OutcomeKind), name="kind"),
        CheckConstraint(one_of("source", OutcomeSource), name="source"),
        CheckConstraint("(kind = 'custom') = (name IS NOT NULL)", name="name"),
        CheckConstraint(
            "CASE WHEN reverses_id IS NULL THEN amount_cents >= 0 ELSE amount_cents <= 0 END",
            name="amount_cents",
        ),
        UniqueConstraint("external_hash"),
        UniqueConstraint("reverses_id"),
        Index("idx_outcome_occurred", "occurred_at", "id"),
        Index("idx_outcome_created", "created_at"),
        Index(
            "idx_outcome_kind",
            "kind",
            "occurred_at",
            postgresql_include=["id", "amount_cents", "source"],
            postgresql_where=text("reverses_id IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    name: Mapped[str | None]
    """The name of an outcome of the kind ``custom``."""
    amount_cents: Mapped[int | None] = mapped_column(BigInteger)
    """The amount in cents; zero or negative in a reversal; None if the outcome has no amount."""
    currency: Mapped[str]
    occurred_at: Mapped[datetime]
    """When the outcome happened. For a reversal: when the reversal was recorded."""
    source: Mapped[str]
    external_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The keyed hash of the source and the external id; None without an external id. With this
    hash, a repeated request is recognised even after the person was erased."""
    property_id: Mapped[UUID | None]
    reverses_id: Mapped[UUID | None] = mapped_column(ForeignKey("outcome.id"))
    """The outcome that this row reverses; None if it is not a reversal."""
    recorded_by: Mapped[str]
    """The name of the API key that recorded the outcome, or the e-mail address of the user."""
    created_at: Mapped[datetime]


class OutcomeSubject(Base):
    """The person of an outcome, and of its reversal.

    When the contact is merged into another contact, ``contact_id`` does not change. The id of the
    other contact is then in ``contact.merged_into``. ``phone`` is set only while no contact has
    this phone number. When a contact gets the number, triggers
    (``migrations/objects/adopt_outcomes*.sql``) set ``contact_id`` and clear ``phone``.
    """

    __tablename__ = "outcome_subject"
    __table_args__ = (
        CheckConstraint("contact_id IS NULL OR phone IS NULL", name="one_person"),
        Index("idx_outcome_subject_contact", "contact_id"),
        Index("idx_outcome_subject_phone", "phone", postgresql_where=text("phone IS NOT NULL")),
    )

    outcome_id: Mapped[UUID] = mapped_column(
        ForeignKey("outcome.id", ondelete="CASCADE"), primary_key=True
    )
    contact_id: Mapped[UUID | None]
    phone: Mapped[str | None]
    person_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), server_default=text("'{}'"))
    """The ids of the contact and its merged duplicates at the time when the contact was deleted;
    empty before the deletion. The deletion separates the duplicates from the contact. Because of
    these ids, the outcome keeps its credits."""
    external_id: Mapped[str | None]
    """The id of the outcome at its source; None after the person was erased."""
