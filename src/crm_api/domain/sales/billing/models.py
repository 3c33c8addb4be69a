"""The tables of quotes and invoices."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class QuoteStatus(StrEnum):
    """The state of a quote.

    Attributes:
        DRAFT: The quote was not sent to the contact yet.
        SENT: The quote was sent to the contact.
        APPROVED: The contact accepted the quote.
        DECLINED: The contact did not accept the quote.
    """

    DRAFT = "draft"
    SENT = "sent"
    APPROVED = "approved"
    DECLINED = "declined"


class InvoiceStatus(StrEnum):
    """The state of an invoice.

    Attributes:
        OPEN: The invoice is not paid.
        PAID: The invoice is paid.
        VOID: The invoice is no longer valid.
    """

    OPEN = "open"
    PAID = "paid"
    VOID = "void"


class Quote(Base):
    """An offer to a contact.

    An erasure of the contact clears ``contact_id`` and ``property_id``; the amount stays.
    """

    __tablename__ = "quote"
    __table_args__ = (
        CheckConstraint(one_of("status", QuoteStatus), name="status"),
        CheckConstraint("amount_cents >= 0", name="amount_cents"),
        UniqueConstraint("number"),
        Index("idx_quote_created", "created_at", "id"),
        Index("idx_quote_contact", "contact_id", "created_at", "id"),
        Index(
            "idx_quote_approved", "status_at", "id", postgresql_where=text("status = 'approved'")
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    number: Mapped[str]
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact.id", ondelete="SET NULL"))
    """None after the person was erased."""
    property_id: Mapped[UUID | None] = mapped_column(ForeignKey("property.id", ondelete="SET NULL"))
    amount_cents: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    status_at: Mapped[datetime]
    """When the quote got this status."""
    outcomes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The ids of the outcomes that were recorded for the quote, by status."""
    author: Mapped[str]
    """The API key or user that created the quote."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Invoice(Base):
    """What a contact owes.

    An erasure of the contact clears ``contact_id`` and ``property_id``; the amount stays.
    """

    __tablename__ = "invoice"
    __table_args__ = (
        CheckConstraint(one_of("status", InvoiceStatus), name="status"),
        CheckConstraint("amount_cents >= 0", name="amount_cents"),
        UniqueConstraint("number"),
        Index("idx_invoice_created", "created_at", "id"),
        Index("idx_invoice_contact", "contact_id", "created_at", "id"),
        Index("idx_invoice_open", "created_at", "id", postgresql_where=text("status = 'open'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    number: Mapped[str]
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact.id", ondelete="SET NULL"))
    """None after the person was erased."""
    property_id: Mapped[UUID | None] = mapped_column(ForeignKey("property.id", ondelete="SET NULL"))
    amount_cents: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    status_at: Mapped[datetime]
    """When the invoice got this status."""
    outcomes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The ids of the outcomes that were recorded for the invoice, by status."""
    author: Mapped[str]
    """The API key or user that created the invoice."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
