"""Tables of alerts, of the reports sent about them, and of circuits of outside systems."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class AlertStatus(StrEnum):
    """The state of an alert."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """Not over, but a person takes care of it."""
    RESOLVED = "resolved"


class News(StrEnum):
    """What is new about an alert since the last report."""

    OPENED = "opened"
    REPEATED = "repeated"
    """It happened again."""
    ESCALATED = "escalated"
    """It has been open for long, and no one has acknowledged it."""
    RESOLVED = "resolved"


class Alert(Base):
    """Something that a person should see; one row per kind and subject, with a count."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        CheckConstraint(one_of("kind", AlertKind), name="kind"),
        Index("idx_alert_last_seen", "last_seen_at", "id"),
        Index("idx_alert_open", "last_seen_at", "id", postgresql_where=text("resolved_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    subject: Mapped[str]
    """What it is about, for example a line's id."""
    detail: Mapped[str]
    context: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    count: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    """When it opened the last time, after it was new, over, or acknowledged for long."""
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]

    @property
    def status(self) -> AlertStatus:
        """The state, derived from the times."""
        if self.resolved_at is not None:
            return AlertStatus.RESOLVED
        return AlertStatus.OPEN if self.acknowledged_at is None else AlertStatus.ACKNOWLEDGED


TOLD_AS = (News.OPENED, News.ESCALATED, News.RESOLVED)


class AlertNotice(Base):
    """What a channel, such as mail, has reported about an alert."""

    __tablename__ = "alert_notice"
    __table_args__ = (
        CheckConstraint(one_of("told_as", TOLD_AS), name="told_as"),
        Index("idx_alert_notice_told", "channel", "told_at"),
    )

    alert_id: Mapped[UUID] = mapped_column(
        ForeignKey("alert.id", ondelete="CASCADE"), primary_key=True
    )
    channel: Mapped[str] = mapped_column(primary_key=True)
    told_as: Mapped[str | None]
    told_at: Mapped[datetime | None]
    told_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The alert's count at the last report."""
    claimed_until: Mapped[datetime | None]
    """A process is reporting it; after this time the claim counts as lost."""


class Circuit(Base):
    """Whether an outside system may be called; shared by all processes."""

    __tablename__ = "circuit"

    name: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """In a row, with no answer between them."""
    failing_since: Mapped[datetime | None]
    last_failed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    opened_at: Mapped[datetime | None]
    """No call is made from this time on; None while the circuit is closed."""
    trial_at: Mapped[datetime | None]
    """While open: when the next test call is due. On trial: when the trial began."""
    opens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How often it opened since it was last closed; each opening doubles the wait."""
