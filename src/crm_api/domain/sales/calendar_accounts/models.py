"""The tables of calendar accounts, their events, and the times in which somebody is busy."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class CalendarAccountStatus(StrEnum):
    """Whether a calendar is synchronised.

    Attributes:
        PENDING: The first synchronisation has not ended yet.
        ACTIVE: The last synchronisation succeeded.
        FAILING: The last synchronisation failed; `error` says why. The service tries it again.
    """

    PENDING = "pending"
    ACTIVE = "active"
    FAILING = "failing"


class CalendarAccount(Base):
    """A calendar on a CalDAV server, with the user name and password for the server."""

    __tablename__ = "calendar_account"
    __table_args__ = (
        CheckConstraint(one_of("status", CalendarAccountStatus), name="status"),
        UniqueConstraint("url"),
        Index("idx_calendar_account_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    url: Mapped[str]
    """The address of the calendar collection; it ends with a slash."""
    username: Mapped[str]
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """The encrypted password."""
    timezone: Mapped[str]
    """The IANA time zone of events that have no time zone."""
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    """The user whose appointments are in the calendar. None: the calendar has the appointments of
    all users.
    """
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    error: Mapped[str | None]
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of consecutive synchronisations that failed."""
    sync_token: Mapped[str | None]
    """The sync token of the server (RFC 6578). All changes up to this token were applied to the
    appointments. If it is None, the next synchronisation reads the whole calendar.
    """
    last_synced_at: Mapped[datetime | None]
    next_sync_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    """When the worker's claim on the account ends; None if no worker has claimed the account."""
    author: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CalendarEvent(Base):
    """An event of a calendar, and the appointment that it belongs to.

    When the event is deleted, the row stays. If the event comes back, it belongs to the same
    appointment again.
    """

    __tablename__ = "calendar_event"
    __table_args__ = (
        Index("uq_calendar_event_uid", "account_id", "uid", unique=True),
        Index("idx_calendar_event_href", "account_id", "href"),
        Index("idx_calendar_event_appointment", "appointment_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("calendar_account.id", ondelete="CASCADE"))
    appointment_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("appointment.id", ondelete="CASCADE")
    )
    """None if the event belongs to no appointment, for example because it recurs."""
    href: Mapped[str]
    """The path of the event on the server, as the server writes it."""
    uid: Mapped[str]
    etag: Mapped[str | None]
    """The last known version of the event; None if it is unknown, or if the event was deleted."""
    is_gone: Mapped[bool] = mapped_column(server_default=text("false"))
    base_starts_at: Mapped[datetime | None]
    """The start that the event and the appointment had when they were last equal. If the start of
    the event is different now, somebody has moved the event in the calendar."""
    base_ends_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    """When the occurrences of a recurring event were computed; None for other events."""
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The hash of the appointment after the last synchronisation of the event. If the hash is
    different now, the appointment is written to the calendar again."""
    location_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The hash of the location that the event had when it was last read or written; None if
    unknown. If the location has another hash now, somebody has changed it in the calendar."""


class CalendarBusyTime(Base):
    """A time in which the owner of a calendar is busy because of a recurring event."""

    __tablename__ = "calendar_busy_time"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="times"),
        Index("idx_calendar_busy_time_event", "event_id"),
        Index("idx_calendar_busy_time_start", "starts_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    event_id: Mapped[UUID] = mapped_column(ForeignKey("calendar_event.id", ondelete="CASCADE"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
