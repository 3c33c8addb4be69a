"""Tables of the event log, and of the position up to which it was removed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.domain.kit.event_log.event_types import EventType
from crm_api.platform.database import Base


class Event(Base):
    """One event, written in the transaction that it reports.

    Ids are drawn before the commit. A reader that followed ids alone would skip events that commit
    late. So events are read in the order of their transactions, and only those of transactions
    older than every running one: no earlier event can appear after them.

    There is no CHECK on the type, so that a new type needs no migration of this table.
    """

    __tablename__ = "event"
    __table_args__ = (CheckConstraint(one_of("type", EventType), name="type"),)

    transaction_id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::bigint")
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str]
    subject_id: Mapped[UUID | None]
    """The id of the subject; what it is depends on the type: a message, a campaign, an import …"""
    campaign_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Ids and states; no phone numbers and no message bodies."""
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class EventHorizon(Base):
    """The last event that was removed; a reader at an earlier position has missed events."""

    __tablename__ = "event_horizon"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[int] = mapped_column(BigInteger)
