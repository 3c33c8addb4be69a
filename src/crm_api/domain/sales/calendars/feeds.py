"""Create and delete calendar feeds, and write the calendar of a feed."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, func, select, tuple_, update

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.tasks.errors import UnknownAssigneeError
from crm_api.domain.sales.appointments.models import Appointment
from crm_api.domain.sales.calendars.feed_errors import (
    CalendarAddressUnknownError,
    CalendarFeedGoneError,
    CalendarFeedNotFoundError,
    TooManyCalendarFeedsError,
)
from crm_api.domain.sales.calendars.feed_models import CalendarFeed
from crm_api.domain.sales.calendars.feed_schemas import CalendarFeedCreate
from crm_api.domain.sales.calendars.rendering import (
    CalendarEntry,
    entries_statement,
    write_calendar,
)
from crm_api.platform.database import UnitOfWork, typed_rows

TOKEN_BYTES = 32
"""The number of random bytes in a token: so many that nobody can guess the address."""
MOST_FEEDS = 200
PAST, FUTURE = timedelta(days=60), timedelta(days=400)
"""A feed has the appointments that start from ``PAST`` before now to ``FUTURE`` after now."""
MOST_ENTRIES = 2_000
"""The largest number of appointments in a feed. If there are more, the earliest are left out."""


async def create_feed(
    uow: UnitOfWork, body: CalendarFeedCreate, *, author: str, now: datetime
) -> tuple[CalendarFeed, str]:
    """Create a calendar feed; return it with the token of its address.

    Raises:
        TooManyCalendarFeedsError: ``MOST_FEEDS`` feeds exist. Concurrent requests may exceed this.
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
            raise UnknownAssigneeError
    token = secrets.token_urlsafe(TOKEN_BYTES)
    feed = CalendarFeed(**body.model_dump(), token_hash=_hash(token), author=author, created_at=now)
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
    cursors = Cursors("calendar_feeds")
    statement = feeds_statement(after=cursors.read(cursor), limit=limit + 1)
    rows = list(await uow.session.scalars(statement))
    return cursors.page(rows, limit=limit, position=lambda one: (one.created_at, one.id))


def feeds_statement(*, after: tuple[datetime, UUID] | None, limit: int) -> Select[CalendarFeed]:
    """Return the statement that reads one page of calendar feeds."""
    statement = select(CalendarFeed).where(CalendarFeed.deleted_at.is_(None))
    if after is not None:
        statement = statement.where(tuple_(CalendarFeed.created_at, CalendarFeed.id) < after)
    newest_first = (CalendarFeed.created_at.desc(), CalendarFeed.id.desc())
    return statement.order_by(*newest_first).limit(limit)


async def delete_feed(uow: UnitOfWork, *, feed_id: UUID, now: datetime) -> None:
    """Delete a calendar feed: its address answers with 410 from now on.

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
    """Return the feed with this token and its appointments, the earliest first.

    Raises:
        CalendarAddressUnknownError: No feed has this token.
        CalendarFeedGoneError: The feed was deleted, or its user is disabled.
    """
    row = (await uow.session.execute(FIND_FEED, {"token_hash": _hash(token)})).one_or_none()
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
    """Return the iCalendar text of a feed. It stays the same until an appointment changes."""
    return write_calendar(entries, name=feed.name, busy_only=feed.busy_only)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
