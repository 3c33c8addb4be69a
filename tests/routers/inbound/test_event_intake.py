import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.database_time import move_database_time
from tests.fakes import RecordingQueue
from tests.measuring import measured

from crm_api.domain.inbound.webhook_events.envelope import ReceivedEvent, read_event
from crm_api.domain.inbound.webhook_events.storing import EventNotStoredError
from crm_api.platform import clock
from crm_api.platform.jobs import Job, JobName
from crm_api.routers.inbound.event_intake import MOST_WAITING, EventIntake
from crm_api.workers.queue import ArqJobQueue

UNSTORABLE = b'{"id": "EVpoison", "type": "x", "n": 1e-20000}'
"""Valid JSON with a number that PostgreSQL's type numeric cannot store."""


class SignallingQueue(RecordingQueue):
    """Job queue that signals when a nudge (a request to run a job soon) was pushed."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed = asyncio.Event()

    async def push(self, job: Job) -> None:
        await super().push(job)
        self.pushed.set()


class BrokenQueue(RecordingQueue):
    """Job queue that raises an error although a queue must not raise one."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = asyncio.Event()

    async def push(self, job: Job) -> None:
        self.tried.set()
        raise ConnectionError(f"no {job.name}")


def event(name: str, *, body: bytes | None = None) -> ReceivedEvent:
    raw = body or f'{{"id": "{name}", "type": "message.received"}}'.encode()
    return read_event(raw, scheme="legacy", delivery_id=None)


async def stored(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT provider_event_id FROM webhook_event ORDER BY provider_event_id")
        )
        return list(rows.scalars())


async def payload_of(engine: AsyncEngine, name: str) -> object:
    async with engine.connect() as connection:
        query = text("SELECT payload FROM webhook_event WHERE provider_event_id = :name")
        return (await connection.execute(query, {"name": name})).scalar_one()


def received(result: str) -> float:
    return measured("crm_webhooks_received_total", result=result)


@pytest.fixture
def signals() -> SignallingQueue:
    return SignallingQueue()


@pytest_asyncio.fixture
async def intake(
    committed_db: AsyncEngine, database_url: str, signals: SignallingQueue
) -> AsyncIterator[EventIntake]:
    assert committed_db is not None
    intake = EventIntake(database_url, queue=signals)
    await intake.start()
    yield intake
    await intake.close()


async def test_events_that_come_together_are_all_stored(
    intake: EventIntake, committed_db: AsyncEngine
) -> None:
    await asyncio.gather(*(intake.store(event(f"EV{position:03}")) for position in range(100)))

    assert await stored(committed_db) == [f"EV{position:03}" for position in range(100)]


@pytest.mark.parametrize("error", [timedelta(hours=-2), timedelta(hours=2)])
@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=30)])
async def test_receipt_is_dated_by_the_database_and_not_by_the_web_host(
    intake: EventIntake, committed_db: AsyncEngine, error: timedelta, ahead: timedelta
) -> None:
    await move_database_time(committed_db, ahead=ahead)
    begun = datetime.now(UTC) + ahead
    clock.move(ahead + error)
    try:
        await intake.store(event("EV1"))
    finally:
        clock.move(timedelta(0))

    async with committed_db.connect() as connection:
        query = text("SELECT received_at, next_attempt_at FROM webhook_event")
        receipt = (await connection.execute(query)).one()
    assert begun <= receipt.received_at <= datetime.now(UTC) + ahead
    assert receipt.next_attempt_at == receipt.received_at


async def test_same_event_stored_concurrently_is_one_row(
    intake: EventIntake, committed_db: AsyncEngine
) -> None:
    before = {result: received(result) for result in ("stored", "repeated")}

    await asyncio.gather(*(intake.store(event("EV1")) for _ in range(10)))
    await intake.store(event("EV1"))

    assert await stored(committed_db) == ["EV1"]
    assert received("stored") - before["stored"] == 1
    assert received("repeated") - before["repeated"] == 10


async def test_two_processes_that_store_the_same_events_do_not_block_each_other(
    intake: EventIntake, committed_db: AsyncEngine, database_url: str
) -> None:
    other_process = EventIntake(database_url, queue=RecordingQueue())
    await other_process.start()
    names = [f"EV{position:03}" for position in range(200)]

    await asyncio.gather(
        *(intake.store(event(name)) for name in names),
        *(other_process.store(event(name)) for name in reversed(names)),
    )
    await other_process.close()

    assert await stored(committed_db) == names


async def test_row_that_the_database_refuses_is_stored_as_text_without_harm_to_others(
    intake: EventIntake, committed_db: AsyncEngine
) -> None:
    unstorable = event("EVpoison", body=UNSTORABLE)

    await asyncio.gather(
        intake.store(event("EV1")), intake.store(unstorable), intake.store(event("EV2"))
    )

    assert await stored(committed_db) == ["EV1", "EV2", "EVpoison"]
    assert await payload_of(committed_db, "EVpoison") == {"raw": UNSTORABLE.decode()}


async def test_new_rows_nudge_the_worker_and_repeated_ones_do_not(
    intake: EventIntake, signals: SignallingQueue
) -> None:
    await asyncio.gather(*(intake.store(event(f"EV{position}")) for position in range(20)))
    await signals.pushed.wait()
    await intake.store(event("EV1"))

    assert signals.names == [JobName.PROCESS_WEBHOOK_BACKLOG]


async def test_failed_nudge_does_not_stop_the_intake(
    committed_db: AsyncEngine, database_url: str
) -> None:
    queue = BrokenQueue()
    intake = EventIntake(database_url, queue=queue)
    await intake.start()

    await intake.store(event("EV1"))
    await queue.tried.wait()
    await intake.store(event("EV2"))
    await intake.close()

    assert await stored(committed_db) == ["EV1", "EV2"]


async def test_events_are_stored_without_redis(
    committed_db: AsyncEngine, database_url: str
) -> None:
    queue = ArqJobQueue("redis://127.0.0.1:1/0")
    intake = EventIntake(database_url, queue=queue)
    await intake.start()

    await intake.store(event("EV1"))
    await queue.push(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG))
    await intake.store(event("EV2"))
    await intake.close()
    await queue.close()

    assert await stored(committed_db) == ["EV1", "EV2"]


async def test_closed_connection_is_replaced(
    intake: EventIntake, committed_db: AsyncEngine
) -> None:
    await intake.store(event("EV1"))
    async with committed_db.begin() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'crm-api intake'"
            )
        )

    await intake.store(event("EV2"))

    assert await stored(committed_db) == ["EV1", "EV2"]


async def test_event_is_not_reported_as_stored_without_a_database() -> None:
    intake = EventIntake("postgresql+asyncpg://postgres@/crm?host=/nowhere", queue=RecordingQueue())
    await intake.start()
    before = {result: received(result) for result in ("stored", "not_stored")}

    with pytest.raises(EventNotStoredError) as caught:
        await intake.store(event("EV1"))
    await intake.close()

    assert caught.value.extras == {"retry_after_seconds": 5}
    assert received("stored") == before["stored"]
    assert received("not_stored") == before["not_stored"] + 1


async def test_intake_that_is_not_started_refuses_events(database_url: str) -> None:
    intake = EventIntake(database_url, queue=RecordingQueue())

    with pytest.raises(EventNotStoredError):
        await intake.store(event("EV1"))


async def test_number_of_waiting_deliveries_is_limited(intake: EventIntake) -> None:
    waiting = [asyncio.ensure_future(intake.store(event("EV1"))) for _ in range(MOST_WAITING + 1)]

    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(one) for one in results if one is not None] == [EventNotStoredError]


async def test_close_refuses_waiting_deliveries(database_url: str) -> None:
    intake = EventIntake(database_url, queue=RecordingQueue())
    await intake.start()
    waiting = asyncio.ensure_future(intake.store(event("EV1")))
    await asyncio.sleep(0)

    await intake.close()

    with pytest.raises(EventNotStoredError):
        await waiting
