"""The table of events, and the table with the position up to which old events were deleted."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.domain.kit.event_log.event_types import EventType
from crm_api.platform.database import Base


class Event(Base):
    """One event, written in the transaction of the change that it reports.

    Ids are assigned before the commit, so an event may be committed later than an event with a
    higher id. A reader that only follows the ids would miss such an event. Therefore readers follow
    the order of the transactions, and read only events of transactions that are older than every
    running transaction. So no event can appear later at a position that was already read.
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
    """The id of the message, campaign, import or other thing that changed."""
    campaign_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Ids and states, without phone numbers and message bodies."""
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class EventHorizon(Base):
    """The position of the last deleted event. A reader at an earlier position has missed events."""

    __tablename__ = "event_horizon"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[int] = mapped_column(BigInteger)
