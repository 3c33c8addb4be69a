"""The sandbox's time: one row, or none if time was never moved."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Interval, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class SandboxClock(Base):
    """How far time is ahead of the machine's clock, with the current or the last move.

    Times of the move are sandbox time; ``held_until`` is by the machine's clock.
    """

    __tablename__ = "sandbox_clock"

    name: Mapped[str] = mapped_column(primary_key=True)
    ahead: Mapped[timedelta] = mapped_column(Interval())
    version: Mapped[int] = mapped_column(BigInteger)
    """Increases with each change; a follower reports which version it knows."""
    is_moving: Mapped[bool] = mapped_column(server_default=text("false"))
    from_at: Mapped[datetime | None]
    to_at: Mapped[datetime | None]
    stops: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failure: Mapped[str | None]
    """What delays the move; it is tried again."""
    holder: Mapped[UUID | None]
    """The worker run that has the move."""
    held_until: Mapped[datetime | None]
