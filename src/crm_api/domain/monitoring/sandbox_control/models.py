"""The table of the sandbox clock."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Interval, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class SandboxClock(Base):
    """The sandbox clock and its current or last move; no row exists if the clock was never moved.

    ``from_at`` and ``to_at`` are sandbox times. ``held_until`` is a time of the machine's clock:
    until then, only the job run ``holder`` makes the steps of the move.
    """

    __tablename__ = "sandbox_clock"

    name: Mapped[str] = mapped_column(primary_key=True)
    ahead: Mapped[timedelta] = mapped_column(Interval())
    version: Mapped[int] = mapped_column(BigInteger)
    """Increases with each change of the clock. Each process shows which version it knows."""
    is_moving: Mapped[bool] = mapped_column(server_default=text("false"))
    from_at: Mapped[datetime | None]
    to_at: Mapped[datetime | None]
    stops: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of steps of the move so far."""
    failure: Mapped[str | None]
    """Why the move is delayed; None if it is not delayed. The move continues automatically."""
    holder: Mapped[UUID | None]
    """The id of the job run that owns the move; None if no job run owns it."""
    held_until: Mapped[datetime | None]
