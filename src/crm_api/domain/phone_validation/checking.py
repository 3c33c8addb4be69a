"""Works on the run that is next: page by page, offline first, then the paid service."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Row

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.errors import CrmError
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.phone_validation import progress, queries
from crm_api.domain.phone_validation.budget import next_day
from crm_api.domain.phone_validation.errors import (
    BudgetSpentError,
    PhoneLookupBusyError,
    PhoneLookupRefusedError,
    ValidationLostError,
)
from crm_api.domain.phone_validation.models import LineType, PhoneValidation
from crm_api.domain.phone_validation.offline import OfflineValidator
from crm_api.domain.phone_validation.progress import Found
from crm_api.domain.phone_validation.validator import Validator

log = structlog.get_logger()

PAGE = 200
"""People at once; asked offline in some 10 ms, during which nothing else runs."""
ASKED_AT_ONCE = 50
"""Answers that a worker has in hand before they are stored: what a kill may lose."""
CALLS_AT_ONCE = 8
STUCK = "Its workers ended again and again before they came any further."
_OFFLINE = OfflineValidator()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run works with.

    Attributes:
        service: Asked where the numbering plan does not tell; None when none is set up.
        is_over: True when the rest is for the next run of the job.
    """

    new_uow: UnitOfWorkFactory
    service: Validator | None
    now: Callable[[], datetime]
    is_over: Callable[[], bool]
    page: int = PAGE


@dataclass(kw_only=True)
class _Asked:
    """What the service said of some numbers, and why it was asked no further."""

    found: list[Found] = field(default_factory=list)
    stop: CrmError | None = None


class _TimeIsUpError(Exception):
    """The slice is over."""


async def work(parts: Parts) -> bool:
    """Work on the run that is next, until it has ended or the time is over.

    Its end, and why it could not go on, are in its row.

    Returns:
        False when there is none to work on.
    """
    async with parts.new_uow() as uow:
        run = await progress.claim(uow, now=parts.now())
    if run is None:
        return False
    try:
        await _work_on(parts, run)
    except ValidationLostError:
        log.warning("the phone validation is another worker's, or cancelled", run_id=str(run.id))
    return True


async def _work_on(parts: Parts, run: PhoneValidation) -> None:
    """Check page by page to the end, or write down why not; a database that is away ends the lease.

    Raises:
        ValidationLostError: The run is somebody else's, or cancelled.
    """
    if run.failures >= progress.MOST_FAILURES:
        await _fail(parts, run, kind=progress.FAILED, error=run.last_error or STUCK)
        return
    try:
        while await _check_page(parts, run):
            pass
    except _TimeIsUpError:
        async with parts.new_uow() as uow:
            await progress.let_go(uow, run)
    except BudgetSpentError as error:
        async with parts.new_uow() as uow:
            await progress.hold(uow, run, why=error.detail, until=next_day(parts.now()))
    except PhoneLookupBusyError as error:
        async with parts.new_uow() as uow:
            await progress.postpone(uow, run, error=error.detail, now=parts.now())
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
    """Check the next people; False when there is nobody left.

    Answers of the service are stored as they come. A page that is cut off is read again, and those
    are known then.

    Raises:
        PhoneLookupBusyError: The service could not be asked.
        PhoneLookupRefusedError: It will not answer.
        BudgetSpentError: It may not be asked any more today.
        _TimeIsUpError: The slice is over.
        ValidationLostError: The run is somebody else's, or cancelled.
    """
    if parts.is_over():
        raise _TimeIsUpError
    async with parts.new_uow() as uow:
        page = await queries.next_page(uow.session, run=run, limit=parts.page, now=parts.now())
    if not page:
        return False
    stale = [row.phone for row in page if row.phone is not None and not row.is_fresh]
    found = await _ask_offline(stale)
    known = {one.phone: one for one in found}
    if parts.service is not None:
        unknown = [phone for phone in stale if phone not in known]
        for begin in range(0, len(unknown), ASKED_AT_ONCE):
            asked = await _ask_some(parts, run, unknown[begin : begin + ASKED_AT_ONCE])
            known |= {one.phone: one for one in asked}
    async with parts.new_uow() as uow:
        await progress.store(uow, found, now=parts.now())
        await progress.advance(
            uow,
            run,
            line_types=Counter(_line_type(row, known) for row in page if row.phone is not None),
            position=page[-1].contact_id,
            now=parts.now(),
        )
    return True


async def _ask_offline(phones: Sequence[str]) -> list[Found]:
    """Return those of which the numbering plan tells something."""
    found = [
        Found(phone=phone, answer=await _OFFLINE.look_up(phone), source=_OFFLINE.source)
        for phone in phones
    ]
    return [one for one in found if one.answer.line_type is not LineType.UNKNOWN]


def _line_type(row: Row[Any], known: dict[str, Found]) -> str:
    """What stands of the number now: learned just now, else before, else nothing."""
    found = known.get(row.phone)
    return found.answer.line_type if found else row.line_type or LineType.UNKNOWN


async def _ask_some(parts: Parts, run: PhoneValidation, phones: Sequence[str]) -> Sequence[Found]:
    """Ask the service about some numbers, and keep what it said.

    Raises:
        As ``_check_page``, once that is kept.
    """
    asked = _Asked()
    left = deque(phones)
    # The first one alone: a key that is refused costs one request.
    await _ask_from(parts, left, asked, most=1)
    await asyncio.gather(
        *(_ask_from(parts, left, asked, most=len(phones)) for _ in range(CALLS_AT_ONCE))
    )
    async with parts.new_uow() as uow:
        await progress.store(uow, asked.found, now=parts.now())
    async with parts.new_uow() as uow:
        await progress.note_lookups(uow, run, len(asked.found), now=parts.now())
    if asked.stop is not None:
        raise asked.stop
    if left:
        raise _TimeIsUpError
    return asked.found


async def _ask_from(parts: Parts, left: deque[str], asked: _Asked, *, most: int) -> None:
    """Ask about one number after the other; a refusal lets calls under way end."""
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
