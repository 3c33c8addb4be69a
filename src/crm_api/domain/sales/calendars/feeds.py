"""Create and delete calendar feeds, and write the calendar of a feed."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import StrictBool
from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    Select,
    UniqueConstraint,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.errors import ConflictError, Example, GoneError, NotFoundError
from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.tasks.errors import UnknownAssigneeError
from crm_api.domain.sales.appointments.models import Appointment
from crm_api.domain.sales.calendars.rendering import (
    CalendarEntry,
    entries_statement,
    write_calendar,
)
from crm_api.platform.database import Base, UnitOfWork, typed_rows
from crm_api.platform.encryption import hash_token
from crm_api.platform.ids import new_id


class CalendarFeed(Base):
    """A secret address under which calendar programs read appointments without signing in.

    Only a SHA-256 hash of the token in the address is stored. The row of a deleted feed stays,
    because requests to its address must get the status 410.
    """

    __tablename__ = "calendar_feed"
    __table_args__ = (
        UniqueConstraint("token_hash"),
        Index("idx_calendar_feed_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    """The user whose appointments the feed shows. None: it shows the appointments of all users."""
    busy_only: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if the feed shows only the times at which a user is busy."""
    author: Mapped[str]
    """The API key or user that created the feed."""
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class CalendarFeedNotFoundError(NotFoundError):
    """No calendar feed has this id."""

    code = "calendar_feed_not_found"
    title = "Calendar feed not found"
    detail = "There is no calendar feed with this id. GET /v1/calendar-feeds lists the feeds."


class CalendarAddressUnknownError(NotFoundError):
    """The secret address of a calendar feed is wrong."""

    code = "calendar_not_found"
    title = "Calendar not found"
    detail = (
        "There is no calendar at this address. Copy the whole address again, or ask for a new one."
    )


class CalendarFeedGoneError(GoneError):
    """The calendar feed was deleted, or the user whose appointments it shows is disabled."""

    code = "calendar_gone"
    title = "Calendar no longer available"
    detail = (
        "This calendar was withdrawn. Remove it from your calendar program, or ask for a new "
        "address."
    )


class TooManyCalendarFeedsError(ConflictError):
    """No more calendar feeds can be created, because the maximum number exists."""

    code = "too_many_calendar_feeds"
    title = "Too many calendar feeds"
    example = Example("There are 200 calendar feeds, which is the maximum. Delete one first.")


NAME = "Visits of Olga"


class CalendarFeedCreate(RequestModel):
    """A new calendar feed.

    Attributes:
        name: The name that calendar programs show.
        assignee_id: The user whose appointments the feed shows. If null, the feed shows the
            appointments of all users.
        busy_only: True to show only the times at which a user is busy, without people and places.
    """

    model_config = example(name=NAME, assignee_id=example_id("user"))

    name: Name200
    assignee_id: UUID | None = None
    busy_only: StrictBool = False


class CalendarFeedRead(ReadModel):
    """A calendar feed.

    Attributes:
        name: The name that calendar programs show.
        assignee_id: The user whose appointments the feed shows; null for all users.
        busy_only: Whether the feed shows only the times at which a user is busy.
        author: Who created the feed: the name of an API key, or the e-mail address of a user.
    """

    model_config = example(name=NAME, busy_only=False, author="olga@granite.example.com")

    id: Id
    name: str
    assignee_id: Id | None
    busy_only: bool
    author: str
    created_at: Instant


class CalendarFeedCreated(CalendarFeedRead):
    """A new calendar feed with its address. Only this response contains the address.

    Attributes:
        url: The secret address. Everybody who knows it can read the calendar without signing in.
    """

    model_config = example(
        CalendarFeedRead,
        url="https://crm.example.com/calendar/Yk3vJ0m8q2h5s7d9f1g4k6l8.ics",
    )

    url: str


TOKEN_BYTES = 32
"""The number of random bytes in a token. With so many bytes, the address cannot be guessed."""
MOST_FEEDS = 200
PAST, FUTURE = timedelta(days=60), timedelta(days=400)
"""A feed contains the appointments that start between ``now - PAST`` and ``now + FUTURE``."""
MOST_ENTRIES = 2_000
"""The largest number of appointments in a feed. If there are more, the earliest are left out."""


async def create_feed(
    uow: UnitOfWork, body: CalendarFeedCreate, *, author: str, now: datetime
) -> tuple[CalendarFeed, str]:
    """Create a calendar feed. Return the feed and the secret token of the feed's address.

    Raises:
        TooManyCalendarFeedsError: ``MOST_FEEDS`` feeds exist. Concurrent requests may exceed this
            limit.
        UnknownAssigneeError: The assignee is not an active user.
    """
    count = select(func.count(CalendarFeed.id)).where(CalendarFeed.deleted_at.is_(None))
    if (await uow.session.scalar(count) or 0) >= MOST_FEEDS:
        raise TooManyCalendarFeedsError(
            f"There are {MOST_FEEDS} calendar feeds, which is the maximum. Delete one first."
        )
    if body.assignee_id is not None:
        user = await uow.session.get(User, body.assignee_id)
        if user is None or user.status != UserStatus.ACTIVE:
            raise UnknownAssigneeError("With null, the feed shows the appointments of all users.")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    feed = CalendarFeed(
        **body.model_dump(), token_hash=hash_token(token), author=author, created_at=now
    )
    uow.session.add(feed)
    await uow.session.flush()
    return feed, token


async def read_feed(uow: UnitOfWork, *, feed_id: UUID) -> CalendarFeed:
    """Return the calendar feed with this id.

    Raises:
        CalendarFeedNotFoundError: The feed does not exist or was deleted.
    """
    statement = select(CalendarFeed).where(
        CalendarFeed.id == feed_id, CalendarFeed.deleted_at.is_(None)
    )
    found = await uow.session.scalar(statement)
    if found is None:
        raise CalendarFeedNotFoundError
    return found


async def list_feeds(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[CalendarFeed]:
    """Return a page of calendar feeds, the newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    rows, cursors = (
        select(CalendarFeed).where(CalendarFeed.deleted_at.is_(None)),
        Cursors("calendar_feeds"),
    )
    return await read_newest(
        uow.session,
        rows,
        CalendarFeed.created_at,
        CalendarFeed.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def delete_feed(uow: UnitOfWork, *, feed_id: UUID, now: datetime) -> None:
    """Delete a calendar feed. From now on, requests to its address get the status 410.

    Raises:
        CalendarFeedNotFoundError: The feed does not exist or was deleted.
    """
    statement = (
        update(CalendarFeed)
        .where(CalendarFeed.id == feed_id, CalendarFeed.deleted_at.is_(None))
        .values(deleted_at=now)
        .returning(CalendarFeed.id)
    )
    if await uow.session.scalar(statement) is None:
        raise CalendarFeedNotFoundError


FIND_FEED = (
    select(CalendarFeed, User.status)
    .outerjoin(User, User.id == CalendarFeed.assignee_id)
    .where(CalendarFeed.token_hash == bindparam("token_hash"))
)


async def read_entries(
    uow: UnitOfWork, *, token: str, now: datetime
) -> tuple[CalendarFeed, list[CalendarEntry]]:
    """Return the calendar feed with this secret token, and the appointments that the feed shows.

    The appointments are sorted by start, the earliest first.

    Raises:
        CalendarAddressUnknownError: No feed has this token.
        CalendarFeedGoneError: The feed was deleted, or its user is disabled.
    """
    row = (await uow.session.execute(FIND_FEED, {"token_hash": hash_token(token)})).one_or_none()
    if row is None:
        raise CalendarAddressUnknownError
    feed: CalendarFeed = row.CalendarFeed
    is_disabled = feed.assignee_id is not None and row.status != UserStatus.ACTIVE
    if feed.deleted_at is not None or is_disabled:
        raise CalendarFeedGoneError
    shown = feed_statement(assignee_id=feed.assignee_id, now=now)
    found = typed_rows(CalendarEntry, await uow.session.execute(shown))
    return feed, found[::-1]


def feed_statement(*, assignee_id: UUID | None, now: datetime) -> Select[*tuple[Any, ...]]:
    """Return the statement that reads the appointments of a feed, the latest first.

    If there are more than ``MOST_ENTRIES`` appointments, the earliest ones are left out.
    """
    statement = entries_statement().where(
        Appointment.starts_at > now - PAST, Appointment.starts_at < now + FUTURE
    )
    if assignee_id is not None:
        statement = statement.where(Appointment.assignee_id == assignee_id)
    latest_first = (Appointment.starts_at.desc(), Appointment.id.desc())
    return statement.order_by(*latest_first).limit(MOST_ENTRIES)


def write_feed(feed: CalendarFeed, entries: list[CalendarEntry]) -> bytes:
    """Return the iCalendar text of a feed. The same entries always give the same text."""
    return write_calendar(entries, name=feed.name, busy_only=feed.busy_only)
