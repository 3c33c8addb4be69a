"""The table of problems that the watchdog has found in its last checks."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class Suspicion(Base):
    """A problem that the last check of the watchdog found. If it persists, an alert is raised."""

    __tablename__ = "suspicion"

    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    seen_at: Mapped[datetime]
