"""The sandbox's time: one row, and none where time was never moved."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Interval, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base


class SandboxClock(Base):
    """How far time is ahead of the machine's clock, and the move under way or the last one.

    Times of the move are the sandbox's, ``held_until`` is the machine's.
    """

    __tablename__ = "sandbox_clock"

    name: Mapped[str] = mapped_column(primary_key=True)
    ahead: Mapped[timedelta] = mapped_column(Interval())
    version: Mapped[int] = mapped_column(BigInteger)
    """Grows with each change; whoever follows says which one it knows."""
    is_moving: Mapped[bool] = mapped_column(server_default=text("false"))
    from_at: Mapped[datetime | None]
    to_at: Mapped[datetime | None]
    stops: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failure: Mapped[str | None]
    """What holds the move up; it is tried again."""
    holder: Mapped[UUID | None]
    """The run of the worker that moves it."""
    held_until: Mapped[datetime | None]
