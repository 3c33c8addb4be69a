"""Each event becomes one delivery per endpoint that wants it and may see it, exactly once."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.outbound.webhook_deliveries.support import House, NewUow

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.payloads import PAYLOADS
from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_endpoints import activation
from crm_api.platform.ids import new_id


@pytest.fixture
def house(committed_uow: NewUow) -> House:
    return House(committed_uow)


async def types_of(house: House, endpoint_id: UUID) -> list[str]:
    rows = await house.rows(
        "SELECT type FROM webhook_delivery WHERE endpoint_id = :id ORDER BY id", id=endpoint_id
    )
    return [row.type for row in rows]


async def test_event_becomes_a_delivery_with_the_shape_of_its_type(house: House) -> None:
    endpoint_id, _ = await house.endpoint()
    contact_id = await house.happens(EventType.OPT_OUT)

    made = await house.hand_out()

    (row,) = await house.rows()
    assert made == 1
    assert (row.endpoint_id, row.type, row.status) == (endpoint_id, "opt_out", "pending")
    assert row.data == {"contact_id": str(contact_id)}
    assert (row.created_at, row.next_attempt_at) == (house.now, house.now)
    PAYLOADS[row.type].model_validate(
        {"type": row.type, "timestamp": row.happened_at, "data": row.data}
    )


async def test_endpoint_gets_the_types_that_it_asks_for(house: House) -> None:
    some, _ = await house.endpoint(types=("opt_in", "alert"))
    every, _ = await house.endpoint()
    for event_type in (EventType.OPT_OUT, EventType.OPT_IN, EventType.CAMPAIGN_COUNTERS):
        await house.happens(event_type, campaign_id=new_id())

    await house.hand_out()

    assert await types_of(house, some) == ["opt_in"]
    assert await types_of(house, every) == ["opt_out", "opt_in"]


async def test_endpoint_gets_what_its_maker_may_see(house: House) -> None:
    """``campaigns:read`` may see what belongs to a campaign, as on the stream."""
    people, _ = await house.endpoint(scopes=(Scope.CONTACTS_READ,))
    campaigns, _ = await house.endpoint(scopes=(Scope.CAMPAIGNS_READ,))
    await house.happens(EventType.OPT_OUT)
    await house.happens(EventType.MESSAGE_STATUS, status="sent")
    await house.happens(EventType.MESSAGE_STATUS, campaign_id=new_id(), status="sent")
    await house.happens(EventType.ALERT, kind="line_blocked", status="open")

    await house.hand_out()

    assert await types_of(house, people) == ["opt_out"]
    assert await types_of(house, campaigns) == ["message.status"]


async def test_what_changes_for_one_user_alone_is_not_sent(house: House) -> None:
    endpoint_id, _ = await house.endpoint()
    await house.happens(EventType.CONVERSATION_CHANGED, state="open", user_id=str(new_id()))
    await house.happens(EventType.CONVERSATION_CHANGED, state="open")

    await house.hand_out()

    assert await types_of(house, endpoint_id) == ["conversation.changed"]


async def test_endpoint_gets_what_happens_after_it_was_made(house: House) -> None:
    first, _ = await house.endpoint()
    await house.happens(EventType.OPT_OUT)
    second, _ = await house.endpoint()
    await house.happens(EventType.OPT_IN)

    await house.hand_out()

    assert await types_of(house, first) == ["opt_out", "opt_in"]
    assert await types_of(house, second) == ["opt_in"]


async def test_disabled_endpoint_misses_what_happens_meanwhile(
    house: House, committed_uow: NewUow
) -> None:
    endpoint_id, _ = await house.endpoint()
    await house.happens(EventType.OPT_OUT)
    await house.hand_out()
    async with committed_uow() as uow:
        await activation.disable_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=NOW)
    await house.happens(EventType.ALERT, kind="x", status="open")
    async with committed_uow() as uow:
        await activation.enable_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=NOW)
    await house.happens(EventType.OPT_IN)

    await house.hand_out()

    assert await types_of(house, endpoint_id) == ["opt_out", "opt_in"]


async def test_two_workers_hand_each_event_out_once(house: House) -> None:
    for _ in range(3):
        await house.endpoint()
    for _ in range(4):
        await house.happens(times=25)

    made = await asyncio.gather(*(house.hand_out(limit=10) for _ in range(3)))
    made.append(await house.hand_out(limit=10))

    subjects = await house.rows(
        "SELECT endpoint_id, data->>'contact_id' AS contact FROM webhook_delivery"
    )
    assert sum(made) == len(subjects) == len({tuple(row) for row in subjects}) == 300


async def test_worker_that_dies_in_between_leaves_all_to_the_next(
    house: House, committed_uow: NewUow
) -> None:
    await house.endpoint()
    await house.happens(times=3)
    async with committed_uow() as uow:
        await fan_out.adopt_cursor(uow)
    with pytest.raises(TimeoutError):
        async with committed_uow() as uow:
            await fan_out.fan_out_page(uow, now=NOW)
            raise TimeoutError

    made = await house.hand_out()

    assert (made, await house.hand_out()) == (3, 0)


async def test_event_of_a_transaction_that_ends_late_is_not_passed_over(
    house: House, committed_uow: NewUow
) -> None:
    endpoint_id, _ = await house.endpoint()
    async with committed_uow() as slow:
        await event_recording.record_event(slow, type=EventType.OPT_OUT, subject_id=new_id())
        await house.happens(EventType.OPT_IN)
        meanwhile = await house.hand_out()

    afterwards = await house.hand_out()

    assert (meanwhile, afterwards) == (0, 2)
    assert await types_of(house, endpoint_id) == ["opt_out", "opt_in"]


async def test_without_an_endpoint_nothing_is_read_and_nothing_comes_later(house: House) -> None:
    await house.happens(times=5)
    before = await house.hand_out()
    endpoint_id, _ = await house.endpoint()

    after = await house.hand_out()

    assert (before, after) == (0, 0)
    assert await types_of(house, endpoint_id) == []


async def test_news_are_seen_without_a_lock(house: House, committed_uow: NewUow) -> None:
    async def has_news() -> bool:
        async with committed_uow() as uow:
            return await fan_out.has_new_events(uow)

    await house.hand_out()
    await house.happens()
    without_endpoint = await has_news()
    await house.endpoint()
    before = await has_news()
    await house.happens()
    happened = await has_news()
    await house.hand_out()
    handed_out = await has_news()

    assert (without_endpoint, before, happened, handed_out) == (False, False, True, False)


async def _insert_event_of_tomorrow(house: House) -> None:
    """Insert an event whose type a later version adds to the constraint of the table."""
    async with house.new_uow() as uow:
        definition = await uow.session.scalar(
            text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name"),
            {"name": "ck_event_type"},
        )
        for statement in (
            "ALTER TABLE event DROP CONSTRAINT ck_event_type",
            "INSERT INTO event (type) VALUES ('of.tomorrow')",
            f"ALTER TABLE event ADD CONSTRAINT ck_event_type {definition} NOT VALID",
        ):
            await uow.session.execute(text(statement))


async def _delete_event_of_tomorrow(house: House) -> None:
    async with house.new_uow() as uow:
        await uow.session.execute(text("DELETE FROM event WHERE type = 'of.tomorrow'"))
        await uow.session.execute(text("ALTER TABLE event VALIDATE CONSTRAINT ck_event_type"))


async def test_event_of_another_version_does_not_stop_those_behind_it(house: House) -> None:
    endpoint_id, _ = await house.endpoint()
    await house.happens(EventType.MESSAGE_STATUS)  # without a status
    await _insert_event_of_tomorrow(house)
    await house.happens(EventType.OPT_IN)

    await house.hand_out()

    await _delete_event_of_tomorrow(house)
    assert await types_of(house, endpoint_id) == ["opt_in"]


async def test_copy_on_another_server_goes_on_from_where_it_is(house: House) -> None:
    """Another server counts transactions from the start: old positions may be far ahead."""
    endpoint_id, _ = await house.endpoint()
    await house.happens(EventType.OPT_OUT)
    await house.hand_out()
    async with house.new_uow() as uow:
        for change in (
            "webhook_cursor SET transaction_id = transaction_id + 1000000000",
            "webhook_endpoint SET since_transaction = since_transaction + 1000000000",
        ):
            await uow.session.execute(text(f"UPDATE {change}"))

    made = [await house.hand_out()]
    await house.happens(EventType.OPT_IN)
    made.append(await house.hand_out())

    assert made == [0, 1]
    assert await types_of(house, endpoint_id) == ["opt_out", "opt_in"]
