"""Tables of alerts, of the reports about alerts, and of the circuit breakers."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class AlertStatus(StrEnum):
    """The state of an alert."""

    OPEN = "open"
    """The problem exists, and no user has acknowledged the alert."""
    ACKNOWLEDGED = "acknowledged"
    """The problem exists, and a user has acknowledged the alert."""
    RESOLVED = "resolved"
    """The problem has ended."""


class News(StrEnum):
    """What has changed about an alert since the last report about it."""

    OPENED = "opened"
    """The alert is new, or it opened again."""
    REPEATED = "repeated"
    """The problem happened again."""
    ESCALATED = "escalated"
    """The alert has been open for a long time, and no user has acknowledged it."""
    RESOLVED = "resolved"
    """The problem has ended."""


class Alert(Base):
    """A problem that a person should see.

    The subject of an alert is the thing that has the problem. There is one row for each pair of a
    kind and a subject.
    """

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
    """What has the problem, for example the id of a phone line."""
    detail: Mapped[str]
    context: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    count: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    """When the alert was last opened.

    An alert is opened in three cases: the problem happens for the first time, it happens after the
    alert was resolved, or it happens later than ``ACKNOWLEDGED_FOR`` after the acknowledgement.
    """
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]

    @property
    def status(self) -> AlertStatus:
        """The state of the alert, derived from ``resolved_at`` and ``acknowledged_at``."""
        if self.resolved_at is not None:
            return AlertStatus.RESOLVED
        return AlertStatus.OPEN if self.acknowledged_at is None else AlertStatus.ACKNOWLEDGED


TOLD_AS = (News.OPENED, News.ESCALATED, News.RESOLVED)
"""The changes of an alert that can be stored as the last reported change.

``REPEATED`` is missing: after a report that the problem happened again, the stored change stays as
it was.
"""


class AlertNotice(Base):
    """What one channel, such as mail, last reported about one alert."""

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
    """How often the problem of the alert had happened at the time of the last report."""
    claimed_until: Mapped[datetime | None]
    """When the claim (reservation) on the alert expires.

    Until then, only the process that has claimed the alert may report it. Afterwards, another
    process may claim it.
    """


class Circuit(Base):
    """The circuit breaker of one outside system; all processes share this row.

    A circuit breaker stops requests to a system that is down. ``circuits.py`` explains its states.
    """

    __tablename__ = "circuit"

    name: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of requests to the outside system that have failed in a row."""
    failing_since: Mapped[datetime | None]
    last_failed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    opened_at: Mapped[datetime | None]
    """When the circuit opened; None while the circuit is closed or on trial.

    While the circuit is open, no requests are sent to the outside system.
    """
    trial_at: Mapped[datetime | None]
    """The time of a test request. Its meaning depends on the state of the circuit.

    - Open: when the next test request is due.
    - On trial (after a successful test request): when the trial began.
    """
    opens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How often the circuit has opened, or its test request has failed, since it was last closed.

    Each time, the wait until the next test request doubles, up to a limit.
    """
