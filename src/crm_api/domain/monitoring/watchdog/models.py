"""Suspicions: what looks wrong, and since when."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class Suspicion(Base):
    """Something found by the last check; it becomes an alert when it persists."""

    __tablename__ = "suspicion"

    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    seen_at: Mapped[datetime]
