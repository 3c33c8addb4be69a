"""Runs over the numbers of people: worked on page by page, cut off, gone on with."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.phone_validation.lookup_host import (
    AWAY,
    HTML,
    KEY,
    REFUSED,
    LookupHost,
    lookup_host,
    told,
)
from tests.factories import ids, make_contact, make_list, number
from tests.fakes import RecordingQueue

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.contacts.models import Contact
from crm_api.domain.operations.models import Alert
from crm_api.domain.phone_validation import checking, progress
from crm_api.domain.phone_validation import service as runs
from crm_api.domain.phone_validation.budget import Budget, next_day
from crm_api.domain.phone_validation.checking import Parts
from crm_api.domain.phone_validation.errors import (
    NobodyToValidateError,
    PhoneValidationEndedError,
    ValidationLostError,
)
from crm_api.domain.phone_validation.lookup_service import LookupService
from crm_api.domain.phone_validation.models import PhoneLookup, PhoneValidation
from crm_api.domain.phone_validation.schemas import PhoneValidationCreate
from crm_api.jobs import JobName

TOLL_FREE = "+18002345678"


async def _at_once(_seconds: float) -> None:
    """Wait no longer."""


class House:
    """A worker with a look-up service, a clock and a budget."""

    def __init__(
        self, host: LookupHost, session: AsyncSession, new_uow: Callable[[], UnitOfWork]
    ) -> None:
        self.host = host
        self.session = session
        self.new_uow = new_uow
        self.now = NOW
        self.daily = 1000

    async def people(self, count: int, *more: str) -> list[Contact]:
        phones = [number(position) for position in range(count)] + list(more)
        contacts = [await make_contact(self.session, phone=phone) for phone in phones]
        await self.session.commit()
        return contacts

    async def request(self, contacts: Sequence[Contact]) -> PhoneValidation:
        body = PhoneValidationCreate(contact_ids=ids(*contacts))
        async with self.new_uow() as uow:
            return await runs.request(uow, body, now=self.now)

    async def work(self, *, is_over: Callable[[], bool] = lambda: False) -> bool:
        """As the job does, with the service."""
        async with self._service() as service:
            return await checking.work(
                Parts(new_uow=self.new_uow, service=service, now=self._clock, is_over=is_over)
            )

    async def work_offline(self, *, page: int = 200) -> bool:
        return await checking.work(
            Parts(
                new_uow=self.new_uow,
                service=None,
                now=self._clock,
                is_over=lambda: False,
                page=page,
            )
        )

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[LookupService]:
        async with (
            Budget(self.new_uow, daily=self.daily, now=self._clock) as budget,
            LookupService(url=self.host.url, api_key=KEY, budget=budget, sleep=_at_once) as service,
        ):
            yield service

    def _clock(self) -> datetime:
        return self.now

    async def row(self, run: PhoneValidation) -> PhoneValidation:
        async with self.new_uow() as uow:
            return await runs.get(uow, run_id=run.id)

    async def known(self) -> dict[str, str]:
        rows = await self.session.scalars(
            select(PhoneLookup).execution_options(populate_existing=True)
        )
        return {row.phone: row.line_type for row in rows}

    async def alerts(self) -> dict[str, bool]:
        """The kinds of alerts, and whether each is over."""
        rows = await self.session.scalars(select(Alert).execution_options(populate_existing=True))
        return {row.kind: row.resolved_at is not None for row in rows}

    async def used(self) -> int:
        return await self.session.scalar(text("SELECT sum(used) FROM phone_lookup_day")) or 0


@pytest_asyncio.fixture
async def house(session: AsyncSession, new_uow: UnitOfWorkFactory) -> AsyncIterator[House]:
    async with lookup_host() as host:
        yield House(host, session, new_uow)


async def test_run_asks_about_everybody_and_counts(house: House, queue: RecordingQueue) -> None:
    contacts = await house.people(4, TOLL_FREE)
    contacts[3].deleted_at = NOW
    await house.session.commit()
    house.host.by_phone = {number(0): told("landline", carrier="Bell"), number(1): told("pager")}

    run = await house.request(contacts)
    assert await house.work()

    row = await house.row(run)
    assert queue.names == [JobName.VALIDATE_PHONES]
    assert (run.status, row.status, row.total, row.checked) == ("pending", "completed", 4, 4)
    assert row.line_types == {"landline": 1, "mobile": 1, "toll_free": 1, "unknown": 1}
    assert (row.looked_up, row.finished_at, row.last_error) == (3, NOW, None)
    assert await house.known() == {
        number(0): "landline",
        number(1): "unknown",
        number(2): "mobile",
        TOLL_FREE: "toll_free",
    }
    assert sorted(house.host.asked) == [number(0), number(1), number(2)]
    assert not await house.work()


async def test_run_over_a_list(house: House) -> None:
    contacts = await house.people(3)
    homeowners = await make_list(house.session, contacts=contacts[:2])
    await house.session.commit()

    async with house.new_uow() as uow:
        run = await runs.request(uow, PhoneValidationCreate(list_id=homeowners.id), now=NOW)
    await house.work()

    row = await house.row(run)
    assert (row.total, row.checked) == (2, 2)
    assert sorted(await house.known()) == [number(0), number(1)]


async def test_merged_contact_means_whom_it_was_merged_into(house: House) -> None:
    head, duplicate = await house.people(2)
    duplicate.merged_into, duplicate.deleted_at = head.id, NOW
    await house.session.commit()

    run = await house.request([duplicate])
    await house.work()

    assert (run.total, run.contact_ids) == (1, [head.id])
    assert list(await house.known()) == [head.phone]


async def test_without_a_service_only_the_numbering_plan_is_asked(house: House) -> None:
    run = await house.request(await house.people(2, TOLL_FREE))

    await house.work_offline()

    row = await house.row(run)
    assert (row.status, row.line_types) == ("completed", {"toll_free": 1, "unknown": 2})
    assert await house.known() == {TOLL_FREE: "toll_free"}
    assert house.host.asked == []


async def test_answer_is_kept_until_it_expires(house: House) -> None:
    contacts = await house.people(1)
    house.host.replies = [told("landline"), told("mobile")]
    for _ in range(2):
        await house.request(contacts)
        await house.work()
    kept = await house.known()

    house.now += progress.KEPT
    run = await house.request(contacts)
    await house.work()

    assert kept == {number(0): "landline"}
    assert await house.known() == {number(0): "mobile"}
    assert len(house.host.asked) == 2
    assert (await house.row(run)).looked_up == 1


async def test_expired_answer_stands_while_nobody_can_be_asked(house: House) -> None:
    contacts = await house.people(1)
    house.host.replies = [told("landline")]
    await house.request(contacts)
    await house.work()

    house.now += 2 * progress.KEPT
    run = await house.request(contacts)
    await house.work_offline()

    assert (await house.row(run)).line_types == {"landline": 1}
    assert await house.known() == {number(0): "landline"}


async def test_run_that_is_cut_off_goes_on_and_asks_nobody_twice(
    house: House, queue: RecordingQueue
) -> None:
    run = await house.request(await house.people(20))
    calls = iter(range(100))

    await house.work(is_over=lambda: next(calls) > 10)
    cut_off = await house.row(run)
    while await house.work():
        pass

    row = await house.row(run)
    assert (cut_off.status, cut_off.checked) == ("running", 0)
    assert 0 < cut_off.looked_up < 20
    assert (row.status, row.checked, row.looked_up) == ("completed", 20, 20)
    assert sorted(house.host.asked) == [number(position) for position in range(20)]
    assert queue.names == [JobName.VALIDATE_PHONES] * 2


async def test_pages_follow_each_other(house: House) -> None:
    run = await house.request(await house.people(7))

    await house.work_offline(page=3)

    assert (await house.row(run)).checked == 7


async def test_run_of_a_lost_worker_is_gone_on_with_once_its_lease_is_over(house: House) -> None:
    run = await house.request(await house.people(1))
    async with house.new_uow() as uow:
        lost = await progress.claim(uow, now=house.now)

    at_once = await house.work()
    house.now += progress.LEASE
    later = await house.work()

    assert (at_once, later) == (False, True)
    assert (await house.row(run)).status == "completed"
    assert lost is not None
    with pytest.raises(ValidationLostError):
        async with house.new_uow() as uow:
            await progress.let_go(uow, lost)


async def test_run_whose_workers_die_again_and_again_fails(house: House) -> None:
    run = await house.request(await house.people(1))
    for _ in range(progress.MOST_FAILURES):
        async with house.new_uow() as uow:
            await progress.claim(uow, now=house.now)
        house.now += progress.LEASE

    await house.work()

    row = await house.row(run)
    assert (row.status, row.last_error) == ("failed", checking.STUCK)
    assert await house.alerts() == {"phone_validation_failed": False}


async def test_spent_budget_waits_for_the_next_day(house: House) -> None:
    house.daily = 3
    run = await house.request(await house.people(5))

    await house.work()
    waiting = await house.row(run)
    assert not await house.work()
    house.now = next_day(NOW)
    await house.work()

    row = await house.row(run)
    assert (waiting.status, waiting.looked_up, waiting.continues_at) == ("running", 3, house.now)
    assert "3 look-ups of the day" in (waiting.last_error or "")
    assert (row.status, row.looked_up, row.last_error) == ("completed", 5, None)
    assert len(house.host.asked) == 5
    assert await house.alerts() == {}


@pytest.mark.parametrize("answer", [REFUSED, HTML])
async def test_refusal_stops_the_run_with_an_alert_and_burns_no_budget(
    house: House, answer: bytes
) -> None:
    house.host.replies = [answer]
    run = await house.request(await house.people(30))

    await house.work()

    row = await house.row(run)
    assert row.status == "failed"
    assert "CRM_PHONE_LOOKUP" in (row.last_error or "")
    assert len(house.host.asked) == 1
    assert await house.used() == 0
    assert await house.alerts() == {"phone_lookup_refused": False}

    house.host.replies = [told("mobile")]
    await house.request(await house.people(0, number(40)))
    await house.work()
    assert await house.alerts() == {"phone_lookup_refused": True}


async def test_refusal_in_the_middle_keeps_what_was_answered(house: House) -> None:
    house.host.replies = [*[told("landline")] * 3, REFUSED]
    run = await house.request(await house.people(30))

    await house.work()

    row = await house.row(run)
    assert (row.status, row.looked_up) == ("failed", 3)
    assert len(await house.known()) == 3
    assert await house.used() == 3


async def test_service_that_is_away_is_asked_again_later_and_at_last_given_up(
    house: House,
) -> None:
    house.host.replies = [AWAY]
    run = await house.request(await house.people(1))
    waits: list[timedelta] = []

    while await house.work():
        row = await house.row(run)
        if row.continues_at is None:
            break
        waits.append(row.continues_at - house.now)
        house.now = row.continues_at

    assert [wait.total_seconds() / 60 for wait in waits] == [1, 2, 4, 8, 16]
    assert (await house.row(run)).status == "failed"
    assert await house.alerts() == {"phone_validation_failed": False}


async def test_cancelled_run_stops_and_the_next_one_begins(
    house: House, queue: RecordingQueue
) -> None:
    house.daily = 1
    contacts = await house.people(3)
    first = await house.request(contacts)
    await house.work()
    second = await house.request(contacts)

    async with house.new_uow() as uow:
        cancelled = await runs.cancel(uow, run_id=first.id, now=NOW)
    house.daily = 10
    await house.work()

    assert (cancelled.status, cancelled.finished_at) == ("cancelled", NOW)
    assert (await house.row(second)).status == "completed"
    assert queue.names == [JobName.VALIDATE_PHONES] * 3
    with pytest.raises(PhoneValidationEndedError, match="cancelled"):
        async with house.new_uow() as uow:
            await runs.cancel(uow, run_id=first.id, now=NOW)


async def test_run_that_is_cancelled_while_it_is_asked_keeps_the_answers(house: House) -> None:
    run = await house.request(await house.people(1))

    async def cancel() -> None:
        async with house.new_uow() as uow:
            await runs.cancel(uow, run_id=run.id, now=NOW)

    house.host.before_answer = cancel
    await house.work()

    assert (await house.row(run)).status == "cancelled"
    assert await house.known() == {number(0): "mobile"}


async def test_run_over_nobody_is_refused(house: House) -> None:
    empty = await make_list(house.session, contacts=[])
    await house.session.commit()

    for body in ({"list_id": empty.id}, {"contact_ids": [empty.id]}):
        with pytest.raises(NobodyToValidateError):
            async with house.new_uow() as uow:
                await runs.request(uow, PhoneValidationCreate.model_validate(body), now=NOW)
