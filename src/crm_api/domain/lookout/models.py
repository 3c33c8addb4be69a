"""Suspicions: what has looked wrong, and since when."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base


class Suspicion(Base):
    """Something that looked wrong at the last look; an alert once it has done so for long."""

    __tablename__ = "suspicion"

    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    seen_at: Mapped[datetime]
