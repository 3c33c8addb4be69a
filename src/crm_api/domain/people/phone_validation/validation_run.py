"""Work on a validation run: find the line types of its phone numbers, page by page.

The first digits of some phone numbers show their line type. The paid service is asked for the line
types of the other numbers.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.people.models.phone_validation import LineType, PhoneValidation
from crm_api.domain.people.phone_validation import progress
from crm_api.domain.people.phone_validation.budget import next_day
from crm_api.domain.people.phone_validation.errors import (
    BudgetSpentError,
    PhoneLookupBusyError,
    PhoneLookupRefusedError,
    ValidationLostError,
)
from crm_api.domain.people.phone_validation.progress import Found
from crm_api.domain.people.phone_validation.validator import (
    OFFLINE_SOURCE,
    Validator,
    read_line_type,
)
from crm_api.platform.database import UnitOfWorkFactory, typed_rows

log = structlog.get_logger()

PAGE = 200
"""The number of contacts on a page.

The offline check of a page blocks the event loop for about 10 ms.
"""
ASKED_AT_ONCE = 50
"""The number of phone numbers that are looked up before their results are stored.

If a worker is killed, at most this many results are lost.
"""
CALLS_AT_ONCE = 8
STUCK = "Several workers ended before they had checked one more page of contacts."
_BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a job needs to work on a validation run: services, a clock and limits.

    Attributes:
        service: The paid service, for numbers whose line type is not known offline; None if not set
            up.
        is_over: Returns True when the job must stop.
        page: The number of contacts that one query fetches.
    """

    new_uow: UnitOfWorkFactory
    service: Validator | None
    now: Callable[[], datetime]
    is_over: Callable[[], bool]
    page: int = PAGE


@dataclass(kw_only=True)
class _Asked:
    """The line types from the paid look-up service, and the error that stopped the look-ups.

    The error is None if no error has occurred.
    """

    found: list[Found] = field(default_factory=list)
    stop: CrmError | None = None


class _TimeIsUpError(Exception):
    """The job has used up its time."""


async def work(parts: Parts) -> bool:
    """Work on the oldest unfinished validation run until the run ends or the job must stop.

    The result of the run, or the reason why the run waits, is stored in the row of the run.

    Returns:
        False if there is no run to work on.
    """
    async with parts.new_uow() as uow:
        run = await progress.claim_validation(uow, now=parts.now())
    if run is None:
        return False
    try:
        await _work_on(parts, run)
    except ValidationLostError:
        log.warning(
            "worker stopped working on a phone validation run: another worker took the run over, "
            "or the run was cancelled",
            run_id=str(run.id),
        )
    return True


async def _work_on(parts: Parts, run: PhoneValidation) -> None:
    """Find the line types for all pages of contacts. If this is not possible now, store the reason.

    If the database is unavailable, nothing is stored. Another worker continues the run after this
    worker's reservation of the run expires.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    if run.failures >= progress.MOST_FAILURES:
        await _fail(parts, run, kind=progress.FAILED, error=run.last_error or STUCK)
        return
    try:
        while await _check_page(parts, run):
            pass
    except _TimeIsUpError:
        async with parts.new_uow() as uow:
            await progress.release(uow, run)
    except BudgetSpentError as error:
        async with parts.new_uow() as uow:
            await progress.postpone(uow, run, why=error.detail, until=next_day(parts.now()))
    except PhoneLookupBusyError as error:
        async with parts.new_uow() as uow:
            await progress.postpone_after_failure(uow, run, error=error.detail, now=parts.now())
    except PhoneLookupRefusedError as error:
        await _fail(parts, run, kind=progress.REFUSED, error=error.detail)
    else:
        async with parts.new_uow() as uow:
            await progress.complete(uow, run, now=parts.now())
        log.info("phone numbers validated", run_id=str(run.id), checked=run.checked)


async def _fail(parts: Parts, run: PhoneValidation, *, kind: AlertKind, error: str) -> None:
    async with parts.new_uow() as uow:
        await progress.fail(uow, run, kind=kind, error=error, now=parts.now())


async def _check_page(parts: Parts, run: PhoneValidation) -> bool:
    """Find the line types for the next page of contacts; return False if no contact is left.

    If the work on a page was interrupted, the page is read again. The line types that were already
    stored are not looked up again.

    Raises:
        PhoneLookupBusyError: The service is unavailable.
        PhoneLookupRefusedError: The service refuses every look-up.
        BudgetSpentError: All look-ups of today are used.
        _TimeIsUpError: The job has used up its time.
        ValidationLostError: Another worker has the run, or the run was cancelled.
    """
    if parts.is_over():
        raise _TimeIsUpError
    async with parts.new_uow() as uow:
        page = await fetch_run_page(uow.session, run=run, limit=parts.page, now=parts.now())
    if not page:
        return False
    stale = [row.phone for row in page if row.phone is not None and not row.is_fresh]
    found = _ask_offline(stale)
    known = {one.phone: one for one in found}
    if parts.service is not None:
        unknown = [phone for phone in stale if phone not in known]
        for begin in range(0, len(unknown), ASKED_AT_ONCE):
            asked = await _ask_some(parts, run, unknown[begin : begin + ASKED_AT_ONCE])
            known |= {one.phone: one for one in asked}
    async with parts.new_uow() as uow:
        await progress.store_findings(uow, found, now=parts.now())
        await progress.advance(
            uow,
            run,
            line_types=Counter(_line_type(row, known) for row in page if row.phone is not None),
            position=page[-1].contact_id,
            now=parts.now(),
        )
    return True


@dataclass(frozen=True, slots=True)
class RunContact:
    """A contact of a validation run; ``phone`` is None if the contact was deleted.

    Attributes:
        line_type: The stored line type of the number; None if no line type is stored.
        is_fresh: True if the stored line type need not be looked up again.
    """

    contact_id: UUID
    phone: str | None
    line_type: str | None
    is_fresh: bool


# A deleted contact is included in the page, without a phone number. So the position of the run also
# moves past deleted contacts.
_PAGE = text("""
    WITH named AS (
        (SELECT l.contact_id FROM contact_list_member l
         WHERE l.list_id = CAST(:list_id AS uuid) AND l.contact_id > CAST(:after AS uuid)
         ORDER BY l.contact_id LIMIT :limit)
        UNION ALL
        (SELECT x.id FROM unnest(CAST(:contact_ids AS uuid[])) AS x (id)
         WHERE x.id > CAST(:after AS uuid)
         ORDER BY x.id LIMIT :limit)
    )
    SELECT n.contact_id, c.phone, k.line_type, coalesce(k.expires_at > :now, false) AS is_fresh
    FROM named n
    LEFT JOIN contact c ON c.id = n.contact_id AND c.deleted_at IS NULL
    LEFT JOIN phone_lookup k ON k.phone = c.phone
    ORDER BY n.contact_id
""")


async def fetch_run_page(
    session: AsyncSession, *, run: PhoneValidation, limit: int, now: datetime
) -> list[RunContact]:
    """Fetch the next contacts of a validation run, ordered by id, with their line types."""
    values = {
        "list_id": run.list_id,
        "contact_ids": run.contact_ids or [],
        "after": run.position or _BEFORE_ALL,
        "limit": limit,
        "now": now,
    }
    return typed_rows(RunContact, await session.execute(_PAGE, values))


def _ask_offline(phones: Sequence[str]) -> list[Found]:
    """Return the line type of each number whose first digits show it; leave out other numbers."""
    found = [
        Found(phone=phone, answer=read_line_type(phone), source=OFFLINE_SOURCE) for phone in phones
    ]
    return [one for one in found if one.answer.line_type is not LineType.UNKNOWN]


def _line_type(row: RunContact, known: dict[str, Found]) -> str:
    """Return the line type of a contact's phone number.

    The line types that were found now are in ``known``. If the number is not in ``known``, return
    the stored line type. If no line type is stored, return ``unknown``.
    """
    found = known.get(row.phone) if row.phone else None
    return found.answer.line_type if found else row.line_type or LineType.UNKNOWN


async def _ask_some(parts: Parts, run: PhoneValidation, phones: Sequence[str]) -> Sequence[Found]:
    """Look up some phone numbers at the paid look-up service, and store the results.

    Results are stored before an error is raised.

    Raises:
        PhoneLookupBusyError: The service is unavailable.
        PhoneLookupRefusedError: The service refuses every look-up.
        BudgetSpentError: All look-ups of today are used.
        _TimeIsUpError: The job has used up its time.
        ValidationLostError: Another worker has the run, or the run was cancelled.
    """
    asked = _Asked()
    left = deque(phones)
    # The first number is looked up alone. If the service refuses the API key, no other request is
    # made.
    await _ask_from(parts, left, asked, most=1)
    await asyncio.gather(
        *(_ask_from(parts, left, asked, most=len(phones)) for _ in range(CALLS_AT_ONCE))
    )
    async with parts.new_uow() as uow:
        await progress.store_findings(uow, asked.found, now=parts.now())
    async with parts.new_uow() as uow:
        await progress.note_lookups(uow, run, len(asked.found), now=parts.now())
    if asked.stop is not None:
        raise asked.stop
    if left:
        raise _TimeIsUpError
    return asked.found


async def _ask_from(parts: Parts, left: deque[str], asked: _Asked, *, most: int) -> None:
    """Look up phone numbers one by one. Several tasks run this function at the same time.

    After an error in one of the tasks, no task starts a new look-up.

    Args:
        left: The numbers that no task has looked up.
        asked: Collects the results and the first error of all tasks.
        most: The largest number of look-ups of this task.
    """
    service = parts.service
    for _ in range(most):
        if service is None or not left or asked.stop is not None or parts.is_over():
            return
        phone = left.popleft()
        try:
            answer = await service.look_up(phone)
        except (BudgetSpentError, PhoneLookupBusyError, PhoneLookupRefusedError) as error:
            asked.stop = asked.stop or error
        else:
            asked.found.append(Found(phone=phone, answer=answer, source=service.source))
