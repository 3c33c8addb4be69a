"""The log of events, and up to where it has been forgotten."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base


class Event(Base):
    """One fact, written in its own transaction.

    Numbers are drawn before the commit, so that a reader which went by them alone would pass over
    what commits late. Rows are read in the order of their transactions instead, and only those of
    transactions older than any that still run: nothing can come before them any more.

    No CHECK on the type: triggers write most of them, and another type needs no migration here.
    """

    __tablename__ = "event"

    transaction_id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::bigint")
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str]
    subject_id: Mapped[UUID | None]
    """Whom or what it is about, by the type: a message, a campaign, an import …"""
    campaign_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Ids and states; no number and no text of anybody."""
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class EventHorizon(Base):
    """The last event that was forgotten: whoever stands before it has missed some."""

    __tablename__ = "event_horizon"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[int] = mapped_column(BigInteger)
