"""Create, list and delete calendar accounts, and claim an account to synchronise it.

A claim reserves an account for one worker.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from yarl import URL

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.addresses import AddressPolicy, AddressRefusedError, parse_url
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.people.tasks.errors import UnknownAssigneeError
from crm_api.domain.sales.calendar_accounts.errors import (
    CalendarAccountExistsError,
    CalendarAccountNotFoundError,
    InvalidCalendarUrlError,
    TooManyCalendarAccountsError,
)
from crm_api.domain.sales.calendar_accounts.models import CalendarAccount, CalendarAccountStatus
from crm_api.domain.sales.calendar_accounts.schemas import CalendarAccountCreate
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.encryption import seal, unseal
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

MOST_ACCOUNTS = 50
EVERY = timedelta(minutes=1)
"""How often a calendar is synchronised. A change of an appointment starts an extra
synchronisation immediately.
"""
LEASE = timedelta(minutes=2)
"""How long an account belongs to the worker that claimed it. A synchronisation takes less time."""
LONGEST_WAIT = timedelta(hours=1)
"""The longest pause after a failed synchronisation; the pause doubles with each failure."""
LONGEST_ERROR = 500


async def create_account(
    uow: UnitOfWork,
    body: CalendarAccountCreate,
    *,
    author: str,
    policy: AddressPolicy,
    key: bytes,
    now: datetime,
) -> CalendarAccount:
    """Add a calendar account. A worker reads the calendar soon; this function does not read it.

    Args:
        policy: Decides which addresses are allowed.
        key: The key that encrypts the password.

    Raises:
        CalendarAccountExistsError: Another account already synchronises this calendar.
        InvalidCalendarUrlError: The address is not allowed.
        TooManyCalendarAccountsError: ``MOST_ACCOUNTS`` accounts exist. Concurrent requests may
            exceed this limit.
        UnknownAssigneeError: The assignee is not an active user.
    """
    url = _collection(body.url, policy)
    count = await uow.session.scalar(select(func.count()).select_from(CalendarAccount))
    if (count or 0) >= MOST_ACCOUNTS:
        raise TooManyCalendarAccountsError(
            f"There are {MOST_ACCOUNTS} calendar accounts, which is the maximum. Delete one first."
        )
    if body.assignee_id is not None:
        user = await uow.session.get(User, body.assignee_id)
        if user is None or user.status != UserStatus.ACTIVE:
            raise UnknownAssigneeError("With null, the calendar has the appointments of all users.")
    account_id = new_id()
    values = {
        **body.model_dump(exclude={"password", "url"}),
        "id": account_id,
        "url": url,
        "sealed": seal(
            body.password.get_secret_value(), secret=key, about=about_password(account_id)
        ),
        "next_sync_at": now,
        "author": author,
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(CalendarAccount).values(values).on_conflict_do_nothing()
    account: CalendarAccount | None = await uow.session.scalar(statement.returning(CalendarAccount))
    if account is None:
        known = select(CalendarAccount.id).where(CalendarAccount.url == url)
        raise CalendarAccountExistsError((await uow.session.scalars(known)).one())
    uow.after_commit(Job(name=JobName.SYNC_CALENDARS))
    return account


def about_password(account_id: UUID) -> str:
    """Return the argument ``about`` for encrypting and decrypting the password of an account.

    A password can be decrypted only with the ``about`` with which it was encrypted. This text
    contains the account's id. So the encrypted password of one account cannot be used for another
    account.
    """
    return f"calendar account {account_id}"


def open_password(account: CalendarAccount, *, key: bytes) -> str:
    """Decrypt and return the password of a calendar account.

    Raises:
        UnsealError: The password was encrypted with another key.
    """
    return unseal(account.sealed, secret=key, about=about_password(account.id))


def _collection(text: str, policy: AddressPolicy) -> str:
    """Check the address of a calendar, and return it with a slash at its end.

    Raises:
        InvalidCalendarUrlError: The address is not allowed.
    """
    try:
        url = parse_url(text)
        policy.check_url(url)
    except AddressRefusedError as error:
        raise InvalidCalendarUrlError(error.detail) from error
    if url.raw_query_string or url.fragment:
        raise InvalidCalendarUrlError(
            "The address of a calendar must not contain `?` or `#`. Copy the CalDAV address from "
            "the settings of the calendar."
        )
    return str(url if url.raw_path.endswith("/") else URL(f"{url}/", encoded=True))


async def read_account(uow: UnitOfWork, *, account_id: UUID) -> CalendarAccount:
    """Return the calendar account with this id.

    Raises:
        CalendarAccountNotFoundError: The account does not exist.
    """
    return await get_or_raise(
        uow.session, CalendarAccount, account_id, CalendarAccountNotFoundError
    )


async def list_accounts(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[CalendarAccount]:
    """Return a page of calendar accounts, the newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    rows, cursors = select(CalendarAccount), Cursors("calendar_accounts")
    return await read_newest(
        uow.session,
        rows,
        CalendarAccount.created_at,
        CalendarAccount.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def delete_account(uow: UnitOfWork, *, account_id: UUID) -> None:
    """Delete a calendar account. The events on the server and the appointments do not change.

    Raises:
        CalendarAccountNotFoundError: The account does not exist.
    """
    statement = (
        delete(CalendarAccount)
        .where(CalendarAccount.id == account_id)
        .returning(CalendarAccount.id)
    )
    if await uow.session.scalar(statement) is None:
        raise CalendarAccountNotFoundError


async def request_sync(uow: UnitOfWork, *, now: datetime) -> None:
    """Request a synchronisation of all calendars, except those whose last synchronisation failed.

    Call this function after a change of an appointment.
    """
    statement = (
        update(CalendarAccount)
        .where(CalendarAccount.failures == 0, CalendarAccount.next_sync_at > now)
        .values(next_sync_at=now)
        .returning(CalendarAccount.id)
    )
    if (await uow.session.scalars(statement)).all():
        uow.after_commit(Job(name=JobName.SYNC_CALENDARS))


async def claim_account(uow: UnitOfWork, *, now: datetime) -> CalendarAccount | None:
    """Return the calendar account whose synchronisation has been due for the longest time.

    The function also claims the account: no other worker gets it for 2 minutes (``LEASE``). An
    account that another worker has claimed is not returned. The result is None if no account is
    due.
    """
    due = (
        select(CalendarAccount.id)
        .where(
            CalendarAccount.next_sync_at <= now,
            or_(CalendarAccount.lease_until.is_(None), CalendarAccount.lease_until <= now),
        )
        .order_by(CalendarAccount.next_sync_at, CalendarAccount.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    # The time of the next synchronisation is set here, not after this synchronisation. If an
    # appointment changes during this synchronisation, `request_sync` sets an earlier time. A
    # successful end of this synchronisation does not overwrite that time.
    statement = (
        update(CalendarAccount)
        .where(CalendarAccount.id == due)
        .values(lease_until=now + LEASE, next_sync_at=now + EVERY)
        .returning(CalendarAccount)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await uow.session.scalar(statement)


async def note_success(
    uow: UnitOfWork, *, account_id: UUID, sync_token: str | None, now: datetime
) -> None:
    """Store that a synchronisation succeeded, and end the worker's claim on the account.

    The claim reserved the account for one worker. Another worker can claim the account now.
    """
    await _finish(
        uow,
        account_id,
        {
            "status": CalendarAccountStatus.ACTIVE,
            "error": None,
            "failures": 0,
            "sync_token": sync_token,
            "last_synced_at": now,
        },
    )


async def note_failure(
    uow: UnitOfWork, *, account: CalendarAccount, error: str, now: datetime
) -> None:
    """Store why a synchronisation failed, and when the next synchronisation is due.

    This function also ends the worker's claim, which reserved the account for one worker.
    """
    wait = min(EVERY * 2 ** min(account.failures, 10), LONGEST_WAIT)
    await _finish(
        uow,
        account.id,
        {
            "status": CalendarAccountStatus.FAILING,
            "error": error[:LONGEST_ERROR],
            "failures": CalendarAccount.failures + 1,
            "next_sync_at": now + wait,
        },
    )


async def store_token(uow: UnitOfWork, *, account_id: UUID, sync_token: str | None) -> None:
    """Store the sync token that the calendar server returned with its last list of changes.

    The next synchronisation reads only the changes after that list. So the caller must first apply
    all changes of the list.
    """
    await uow.session.execute(
        update(CalendarAccount)
        .where(CalendarAccount.id == account_id)
        .values(sync_token=sync_token)
    )


async def _finish(uow: UnitOfWork, account_id: UUID, values: Mapping[str, Any]) -> None:
    await uow.session.execute(
        update(CalendarAccount)
        .where(CalendarAccount.id == account_id)
        .values({**values, "lease_until": None})
    )
