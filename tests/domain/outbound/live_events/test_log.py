"""The log of events is read in order and completely, in any order of the commits."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.domain.outbound.live_events.event_log import (
    InvalidEventIdError,
    LogEnds,
    LogPosition,
    parse_position,
)
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
BEGINNING = LogPosition(0, 0)


async def record(uow: UnitOfWork, name: str) -> None:
    await event_recording.record_event(
        uow, type=EventType.IMPORT_PROGRESS, subject_id=None, data={"name": name}
    )


async def emit_events(new_uow: NewUow, *names: str) -> None:
    for name in names:
        async with new_uow() as uow:
            await record(uow, name)


async def head(new_uow: NewUow) -> LogPosition:
    return (await ends(new_uow)).head


async def ends(new_uow: NewUow) -> LogEnds:
    async with new_uow() as uow:
        return await events.find_log_ends(uow)


async def read(
    new_uow: NewUow, *, after: LogPosition = BEGINNING, limit: int = 100
) -> tuple[list[str], LogPosition]:
    async with new_uow() as uow:
        page = await events.read_new_events(uow, after=after, limit=limit)
    return [event.data["name"] for event in page.events], page.until


async def test_event_of_a_transaction_that_commits_late_is_not_skipped(
    committed_uow: NewUow,
) -> None:
    start = await head(committed_uow)
    async with committed_uow() as slow:
        await record(slow, "slow")
        await emit_events(committed_uow, "quick", "quick too")
        meanwhile, place = await read(committed_uow, after=start)
        begun_meanwhile = await head(committed_uow)

    afterwards, _ = await read(committed_uow, after=place)
    by_later_reader, _ = await read(committed_uow, after=begun_meanwhile)

    assert meanwhile == []
    assert afterwards == ["slow", "quick", "quick too"]
    assert by_later_reader == ["slow", "quick", "quick too"]


async def test_rolled_back_transaction_delays_no_event(committed_uow: NewUow) -> None:
    start = await head(committed_uow)
    with pytest.raises(TimeoutError):
        async with committed_uow() as uow:
            await record(uow, "never")
            await emit_events(committed_uow, "quick")
            raise TimeoutError

    assert (await read(committed_uow, after=start))[0] == ["quick"]


async def test_each_page_continues_after_the_one_before(committed_uow: NewUow) -> None:
    async with committed_uow() as uow:
        for name in "abc":
            await record(uow, name)
    await emit_events(committed_uow, "d", "e")

    seen: list[list[str]] = []
    place = BEGINNING
    while not seen or seen[-1]:
        names, place = await read(committed_uow, after=place, limit=2)
        seen.append(names)

    assert seen == [["a", "b"], ["c", "d"], ["e"], []]


async def test_span_ends_at_the_given_position(committed_uow: NewUow) -> None:
    await emit_events(committed_uow, "a", "b")
    _, until = await read(committed_uow)
    await emit_events(committed_uow, "c")

    async with committed_uow() as uow:
        first = await events.read_event_span(uow, after=BEGINNING, until=until, limit=1)
        rest = await events.read_event_span(uow, after=first.until, until=until, limit=5)

    assert [event.data["name"] for event in (*first.events, *rest.events)] == ["a", "b"]
    assert (first.is_last, rest.is_last, rest.until) == (False, True, until)


async def test_events_are_deleted_after_a_week_and_the_log_keeps_the_horizon(
    committed_uow: NewUow,
) -> None:
    await emit_events(committed_uow, "a", "b", "c")
    in_six_days, in_eight_days = (clock.now() + timedelta(days=days) for days in (6, 8))

    async with committed_uow() as uow:
        early = await events.forget_old_events(uow, now=in_six_days)
    untouched = await ends(committed_uow)
    deleted = []
    for _ in range(3):
        async with committed_uow() as uow:
            deleted.append(await events.forget_old_events(uow, now=in_eight_days, limit=2))
    horizon = (await ends(committed_uow)).horizon

    assert (early, untouched.horizon) == (0, None)
    assert deleted == [2, 1, 0]
    assert horizon is not None
    assert horizon < await head(committed_uow)
    assert await read(committed_uow, after=horizon) == ([], await head(committed_uow))


async def test_events_of_another_server_are_not_read(committed_uow: NewUow) -> None:
    """Test the log of a database that was restored on a server with lower transaction numbers.

    A new server counts its transactions from the beginning.
    """
    async with committed_uow() as uow:
        await record(uow, "of the other")
        await uow.session.execute(text("UPDATE event SET transaction_id = transaction_id + 10^9"))
        await uow.session.execute(
            text("INSERT INTO event_horizon VALUES ('log', 2 * 10^9::bigint, 1)")
        )
    await emit_events(committed_uow, "here")

    seen, _ = await read(committed_uow)
    horizon = (await ends(committed_uow)).horizon
    async with committed_uow() as uow:
        await events.forget_old_events(uow, now=clock.now())
        left = await uow.session.scalar(text("SELECT count(*) FROM event"))

    assert seen == ["here"]
    assert horizon is None
    assert left == 1


@pytest.mark.parametrize(
    "given", ["", "1-", "-1", "1-2-3", "a-b", "1-٢", "9" * 19 + "-1", "1-2\x00"]
)
def test_text_that_is_not_an_event_id_is_refused(given: str) -> None:
    with pytest.raises(InvalidEventIdError):
        parse_position(given, pointer="/last_event_id")


def test_number_alone_is_the_position_before_its_events() -> None:
    assert parse_position("0", pointer="/last_event_id") == LogPosition(0, 0)
    assert parse_position("4711", pointer="/last_event_id") < LogPosition(4711, 1)


def test_event_id_is_read_as_it_was_written() -> None:
    assert str(parse_position(" 4711-42 ", pointer="/last_event_id")) == "4711-42"
