"""Validation runs, which look up the numbers of contacts page by page and can be interrupted."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.people.phone_validation.lookup_host import (
    HTML,
    KEY,
    REFUSED,
    UNAVAILABLE,
    LookupHost,
    lookup_host,
    make_answer,
)
from tests.factories import ids, make_contact, make_list, number
from tests.fakes import RecordingQueue

from crm_api.domain.alerts.models import Alert
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.phone_validation import PhoneLookup, PhoneValidation
from crm_api.domain.people.phone_validation import progress, validation_run
from crm_api.domain.people.phone_validation import service as runs
from crm_api.domain.people.phone_validation.budget import Budget, next_day
from crm_api.domain.people.phone_validation.errors import (
    NobodyToValidateError,
    PhoneValidationEndedError,
    ValidationLostError,
)
from crm_api.domain.people.phone_validation.lookup_service import LookupService
from crm_api.domain.people.phone_validation.schemas import PhoneValidationCreate
from crm_api.domain.people.phone_validation.validation_run import Parts
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import JobName

TOLL_FREE = "+18002345678"


async def _do_not_wait(_seconds: float) -> None:
    """Return at once; used in place of a wait."""


class Worker:
    """A worker with a look-up service, a clock and a budget."""

    def __init__(
        self, host: LookupHost, session: AsyncSession, new_uow: Callable[[], UnitOfWork]
    ) -> None:
        self.host = host
        self.session = session
        self.new_uow = new_uow
        self.now = NOW
        self.daily = 1000

    async def make_contacts(self, count: int, *more: str) -> list[Contact]:
        phones = [number(position) for position in range(count)] + list(more)
        contacts = [await make_contact(self.session, phone=phone) for phone in phones]
        await self.session.commit()
        return contacts

    async def request_run(self, contacts: Sequence[Contact]) -> PhoneValidation:
        body = PhoneValidationCreate(contact_ids=ids(*contacts))
        async with self.new_uow() as uow:
            return await runs.request_run(uow, body, now=self.now)

    async def work(self, *, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Run the job for validation runs with the look-up service."""
        async with self._service() as service:
            return await validation_run.work(
                Parts(new_uow=self.new_uow, service=service, now=self._clock, is_over=is_over)
            )

    async def work_offline(self, *, page: int = 200) -> bool:
        return await validation_run.work(
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
            LookupService(
                url=self.host.url, api_key=KEY, budget=budget, sleep=_do_not_wait
            ) as service,
        ):
            yield service

    def _clock(self) -> datetime:
        return self.now

    async def read_run(self, run: PhoneValidation) -> PhoneValidation:
        async with self.new_uow() as uow:
            return await runs.get_run(uow, run_id=run.id)

    async def read_line_types(self) -> dict[str, str]:
        rows = await self.session.scalars(
            select(PhoneLookup).execution_options(populate_existing=True)
        )
        return {row.phone: row.line_type for row in rows}

    async def read_alerts(self) -> dict[str, bool]:
        """Return for each kind of alert whether the alert is resolved."""
        rows = await self.session.scalars(select(Alert).execution_options(populate_existing=True))
        return {row.kind: row.resolved_at is not None for row in rows}

    async def read_used(self) -> int:
        return await self.session.scalar(text("SELECT sum(used) FROM phone_lookup_day")) or 0


@pytest_asyncio.fixture
async def worker(session: AsyncSession, new_uow: UnitOfWorkFactory) -> AsyncIterator[Worker]:
    async with lookup_host() as host:
        yield Worker(host, session, new_uow)


async def test_run_checks_every_contact_and_counts(worker: Worker, queue: RecordingQueue) -> None:
    contacts = await worker.make_contacts(4, TOLL_FREE)
    contacts[3].deleted_at = NOW
    await worker.session.commit()
    worker.host.by_phone = {
        number(0): make_answer("landline", carrier="Bell"),
        number(1): make_answer("pager"),
    }

    run = await worker.request_run(contacts)
    assert await worker.work()

    row = await worker.read_run(run)
    assert queue.names == [JobName.VALIDATE_PHONES]
    assert (run.status, row.status, row.total, row.checked) == ("pending", "completed", 4, 4)
    assert row.line_types == {"landline": 1, "mobile": 1, "toll_free": 1, "unknown": 1}
    assert (row.looked_up, row.finished_at, row.last_error) == (3, NOW, None)
    assert await worker.read_line_types() == {
        number(0): "landline",
        number(1): "unknown",
        number(2): "mobile",
        TOLL_FREE: "toll_free",
    }
    assert sorted(worker.host.requested) == [number(0), number(1), number(2)]
    assert not await worker.work()


async def test_run_over_a_list_checks_its_contacts(worker: Worker) -> None:
    contacts = await worker.make_contacts(3)
    homeowners = await make_list(worker.session, contacts=contacts[:2])
    await worker.session.commit()

    async with worker.new_uow() as uow:
        run = await runs.request_run(uow, PhoneValidationCreate(list_id=homeowners.id), now=NOW)
    await worker.work()

    row = await worker.read_run(run)
    assert (row.total, row.checked) == (2, 2)
    assert sorted(await worker.read_line_types()) == [number(0), number(1)]


async def test_merged_contact_is_replaced_by_its_primary(worker: Worker) -> None:
    head, duplicate = await worker.make_contacts(2)
    duplicate.merged_into, duplicate.deleted_at = head.id, NOW
    await worker.session.commit()

    run = await worker.request_run([duplicate])
    await worker.work()

    assert (run.total, run.contact_ids) == (1, [head.id])
    assert list(await worker.read_line_types()) == [head.phone]


async def test_without_a_service_only_the_numbering_plan_is_used(worker: Worker) -> None:
    run = await worker.request_run(await worker.make_contacts(2, TOLL_FREE))

    await worker.work_offline()

    row = await worker.read_run(run)
    assert (row.status, row.line_types) == ("completed", {"toll_free": 1, "unknown": 2})
    assert await worker.read_line_types() == {TOLL_FREE: "toll_free"}
    assert worker.host.requested == []


async def test_answer_is_used_until_it_expires(worker: Worker) -> None:
    contacts = await worker.make_contacts(1)
    worker.host.responses = [make_answer("landline"), make_answer("mobile")]
    for _ in range(2):
        await worker.request_run(contacts)
        await worker.work()
    kept = await worker.read_line_types()

    worker.now += progress.FRESH_FOR
    run = await worker.request_run(contacts)
    await worker.work()

    assert kept == {number(0): "landline"}
    assert await worker.read_line_types() == {number(0): "mobile"}
    assert len(worker.host.requested) == 2
    assert (await worker.read_run(run)).looked_up == 1


async def test_expired_answer_is_used_while_there_is_no_service(worker: Worker) -> None:
    contacts = await worker.make_contacts(1)
    worker.host.responses = [make_answer("landline")]
    await worker.request_run(contacts)
    await worker.work()

    worker.now += 2 * progress.FRESH_FOR
    run = await worker.request_run(contacts)
    await worker.work_offline()

    assert (await worker.read_run(run)).line_types == {"landline": 1}
    assert await worker.read_line_types() == {number(0): "landline"}


async def test_interrupted_run_continues_and_looks_up_no_number_twice(
    worker: Worker, queue: RecordingQueue
) -> None:
    run = await worker.request_run(await worker.make_contacts(20))
    calls = iter(range(100))

    await worker.work(is_over=lambda: next(calls) > 10)
    interrupted = await worker.read_run(run)
    while await worker.work():
        pass

    row = await worker.read_run(run)
    assert (interrupted.status, interrupted.checked) == ("running", 0)
    assert 0 < interrupted.looked_up < 20
    assert (row.status, row.checked, row.looked_up) == ("completed", 20, 20)
    assert sorted(worker.host.requested) == [number(position) for position in range(20)]
    assert queue.names == [JobName.VALIDATE_PHONES] * 2


async def test_run_reads_all_pages(worker: Worker) -> None:
    run = await worker.request_run(await worker.make_contacts(7))

    await worker.work_offline(page=3)

    assert (await worker.read_run(run)).checked == 7


async def test_run_of_a_crashed_worker_continues_after_its_lease(worker: Worker) -> None:
    run = await worker.request_run(await worker.make_contacts(1))
    async with worker.new_uow() as uow:
        first_claim = await progress.claim_validation(uow, now=worker.now)

    before_lease_end = await worker.work()
    worker.now += progress.LEASE
    later = await worker.work()

    assert (before_lease_end, later) == (False, True)
    assert (await worker.read_run(run)).status == "completed"
    assert first_claim is not None
    with pytest.raises(ValidationLostError):
        async with worker.new_uow() as uow:
            await progress.release(uow, first_claim)


async def test_run_whose_workers_crash_repeatedly_fails(worker: Worker) -> None:
    run = await worker.request_run(await worker.make_contacts(1))
    for _ in range(progress.MOST_FAILURES):
        async with worker.new_uow() as uow:
            await progress.claim_validation(uow, now=worker.now)
        worker.now += progress.LEASE

    await worker.work()

    row = await worker.read_run(run)
    assert (row.status, row.last_error) == ("failed", validation_run.STUCK)
    assert await worker.read_alerts() == {"phone_validation_failed": False}


async def test_spent_budget_waits_for_the_next_day(worker: Worker) -> None:
    worker.daily = 3
    run = await worker.request_run(await worker.make_contacts(5))

    await worker.work()
    waiting = await worker.read_run(run)
    assert not await worker.work()
    worker.now = next_day(NOW)
    await worker.work()

    row = await worker.read_run(run)
    assert (waiting.status, waiting.looked_up, waiting.continues_at) == ("running", 3, worker.now)
    assert "All 3 phone look-ups of today" in (waiting.last_error or "")
    assert (row.status, row.looked_up, row.last_error) == ("completed", 5, None)
    assert len(worker.host.requested) == 5
    assert await worker.read_alerts() == {}


@pytest.mark.parametrize("answer", [REFUSED, HTML])
async def test_refusal_stops_the_run_with_an_alert_and_uses_no_budget(
    worker: Worker, answer: bytes
) -> None:
    worker.host.responses = [answer]
    run = await worker.request_run(await worker.make_contacts(30))

    await worker.work()

    row = await worker.read_run(run)
    assert row.status == "failed"
    assert "CRM_PHONE_LOOKUP" in (row.last_error or "")
    assert len(worker.host.requested) == 1
    assert await worker.read_used() == 0
    assert await worker.read_alerts() == {"phone_lookup_refused": False}

    worker.host.responses = [make_answer("mobile")]
    await worker.request_run(await worker.make_contacts(0, number(40)))
    await worker.work()
    assert await worker.read_alerts() == {"phone_lookup_refused": True}


async def test_refusal_in_the_middle_keeps_earlier_answers(worker: Worker) -> None:
    worker.host.responses = [*[make_answer("landline")] * 3, REFUSED]
    run = await worker.request_run(await worker.make_contacts(30))

    await worker.work()

    row = await worker.read_run(run)
    assert (row.status, row.looked_up) == ("failed", 3)
    assert len(await worker.read_line_types()) == 3
    assert await worker.read_used() == 3


async def test_unavailable_service_is_retried_later_until_the_run_fails(
    worker: Worker,
) -> None:
    worker.host.responses = [UNAVAILABLE]
    run = await worker.request_run(await worker.make_contacts(1))
    waits: list[timedelta] = []

    while await worker.work():
        row = await worker.read_run(run)
        if row.continues_at is None:
            break
        waits.append(row.continues_at - worker.now)
        worker.now = row.continues_at

    assert [wait.total_seconds() / 60 for wait in waits] == [1, 2, 4, 8, 16]
    assert (await worker.read_run(run)).status == "failed"
    assert await worker.read_alerts() == {"phone_validation_failed": False}


async def test_cancelled_run_stops_and_the_next_one_begins(
    worker: Worker, queue: RecordingQueue
) -> None:
    worker.daily = 1
    contacts = await worker.make_contacts(3)
    first = await worker.request_run(contacts)
    await worker.work()
    second = await worker.request_run(contacts)

    async with worker.new_uow() as uow:
        cancelled = await runs.cancel_run(uow, run_id=first.id, now=NOW)
    worker.daily = 10
    await worker.work()

    assert (cancelled.status, cancelled.finished_at) == ("cancelled", NOW)
    assert (await worker.read_run(second)).status == "completed"
    assert queue.names == [JobName.VALIDATE_PHONES] * 3
    with pytest.raises(PhoneValidationEndedError, match="cancelled"):
        async with worker.new_uow() as uow:
            await runs.cancel_run(uow, run_id=first.id, now=NOW)


async def test_run_that_is_cancelled_during_a_look_up_keeps_the_answers(worker: Worker) -> None:
    run = await worker.request_run(await worker.make_contacts(1))

    async def cancel() -> None:
        async with worker.new_uow() as uow:
            await runs.cancel_run(uow, run_id=run.id, now=NOW)

    worker.host.before_response = cancel
    await worker.work()

    assert (await worker.read_run(run)).status == "cancelled"
    assert await worker.read_line_types() == {number(0): "mobile"}


async def test_run_without_contacts_is_refused(worker: Worker) -> None:
    empty = await make_list(worker.session, contacts=[])
    await worker.session.commit()

    for body in ({"list_id": empty.id}, {"contact_ids": [empty.id]}):
        with pytest.raises(NobodyToValidateError):
            async with worker.new_uow() as uow:
                await runs.request_run(uow, PhoneValidationCreate.model_validate(body), now=NOW)
