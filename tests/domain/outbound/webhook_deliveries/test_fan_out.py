"""Each event becomes one delivery for each endpoint that subscribes to it and may see it."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.outbound.webhook_deliveries.support import DeliveryHarness, NewUow

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.payloads import PAYLOADS
from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_endpoints import activation
from crm_api.platform.ids import new_id


@pytest.fixture
def harness(committed_uow: NewUow) -> DeliveryHarness:
    return DeliveryHarness(committed_uow)


async def types_of(harness: DeliveryHarness, endpoint_id: UUID) -> list[str]:
    rows = await harness.rows(
        "SELECT type FROM webhook_delivery WHERE endpoint_id = :id ORDER BY id", id=endpoint_id
    )
    return [row.type for row in rows]


async def test_event_becomes_a_delivery_with_the_schema_of_its_type(
    harness: DeliveryHarness,
) -> None:
    endpoint_id, _ = await harness.add_endpoint()
    contact_id = await harness.emit(EventType.OPT_OUT)

    made = await harness.fan_out_log()

    (row,) = await harness.rows()
    assert made == 1
    assert (row.endpoint_id, row.type, row.status) == (endpoint_id, "opt_out", "pending")
    assert row.data == {"contact_id": str(contact_id)}
    assert (row.created_at, row.next_attempt_at) == (harness.now, harness.now)
    PAYLOADS[row.type].model_validate(
        {"type": row.type, "timestamp": row.happened_at, "data": row.data}
    )


async def test_endpoint_gets_the_types_that_it_asks_for(harness: DeliveryHarness) -> None:
    some, _ = await harness.add_endpoint(types=("opt_in", "alert"))
    every, _ = await harness.add_endpoint()
    for event_type in (EventType.OPT_OUT, EventType.OPT_IN, EventType.CAMPAIGN_COUNTERS):
        await harness.emit(event_type, campaign_id=new_id())

    await harness.fan_out_log()

    assert await types_of(harness, some) == ["opt_in"]
    assert await types_of(harness, every) == ["opt_out", "opt_in"]


async def test_endpoint_gets_only_events_that_its_creator_may_see(harness: DeliveryHarness) -> None:
    """Test that ``campaigns:read`` allows only events that belong to a campaign.

    The stream of live events has the same rule.
    """
    people, _ = await harness.add_endpoint(scopes=(Scope.CONTACTS_READ,))
    campaigns, _ = await harness.add_endpoint(scopes=(Scope.CAMPAIGNS_READ,))
    await harness.emit(EventType.OPT_OUT)
    await harness.emit(EventType.MESSAGE_STATUS, status="sent")
    await harness.emit(EventType.MESSAGE_STATUS, campaign_id=new_id(), status="sent")
    await harness.emit(EventType.ALERT, kind="line_blocked", status="open")

    await harness.fan_out_log()

    assert await types_of(harness, people) == ["opt_out"]
    assert await types_of(harness, campaigns) == ["message.status"]


async def test_change_for_one_user_alone_is_not_delivered(harness: DeliveryHarness) -> None:
    endpoint_id, _ = await harness.add_endpoint()
    await harness.emit(EventType.CONVERSATION_CHANGED, state="open", user_id=str(new_id()))
    await harness.emit(EventType.CONVERSATION_CHANGED, state="open")

    await harness.fan_out_log()

    assert await types_of(harness, endpoint_id) == ["conversation.changed"]


async def test_endpoint_gets_only_events_after_its_creation(harness: DeliveryHarness) -> None:
    first, _ = await harness.add_endpoint()
    await harness.emit(EventType.OPT_OUT)
    second, _ = await harness.add_endpoint()
    await harness.emit(EventType.OPT_IN)

    await harness.fan_out_log()

    assert await types_of(harness, first) == ["opt_out", "opt_in"]
    assert await types_of(harness, second) == ["opt_in"]


async def test_disabled_endpoint_gets_no_event_of_that_time(
    harness: DeliveryHarness, committed_uow: NewUow
) -> None:
    endpoint_id, _ = await harness.add_endpoint()
    await harness.emit(EventType.OPT_OUT)
    await harness.fan_out_log()
    async with committed_uow() as uow:
        await activation.disable_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=NOW)
    await harness.emit(EventType.ALERT, kind="x", status="open")
    async with committed_uow() as uow:
        await activation.enable_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=NOW)
    await harness.emit(EventType.OPT_IN)

    await harness.fan_out_log()

    assert await types_of(harness, endpoint_id) == ["opt_out", "opt_in"]


async def test_concurrent_workers_fan_out_each_event_once(harness: DeliveryHarness) -> None:
    for _ in range(3):
        await harness.add_endpoint()
    for _ in range(4):
        await harness.emit(times=25)

    made = await asyncio.gather(*(harness.fan_out_log(limit=10) for _ in range(3)))
    made.append(await harness.fan_out_log(limit=10))

    subjects = await harness.rows(
        "SELECT endpoint_id, data->>'contact_id' AS contact FROM webhook_delivery"
    )
    assert sum(made) == len(subjects) == len({tuple(row) for row in subjects}) == 300


async def test_next_worker_fans_out_all_events_of_a_worker_that_died(
    harness: DeliveryHarness, committed_uow: NewUow
) -> None:
    await harness.add_endpoint()
    await harness.emit(times=3)
    async with committed_uow() as uow:
        await fan_out.adopt_cursor(uow)
    with pytest.raises(TimeoutError):
        async with committed_uow() as uow:
            await fan_out.fan_out_page(uow, now=NOW)
            raise TimeoutError

    made = await harness.fan_out_log()

    assert (made, await harness.fan_out_log()) == (3, 0)


async def test_event_of_a_transaction_that_commits_late_is_not_skipped(
    harness: DeliveryHarness, committed_uow: NewUow
) -> None:
    endpoint_id, _ = await harness.add_endpoint()
    async with committed_uow() as slow:
        await event_recording.record_event(slow, type=EventType.OPT_OUT, subject_id=new_id())
        await harness.emit(EventType.OPT_IN)
        meanwhile = await harness.fan_out_log()

    afterwards = await harness.fan_out_log()

    assert (meanwhile, afterwards) == (0, 2)
    assert await types_of(harness, endpoint_id) == ["opt_out", "opt_in"]


async def test_events_from_before_the_first_endpoint_are_never_delivered(
    harness: DeliveryHarness,
) -> None:
    await harness.emit(times=5)
    before = await harness.fan_out_log()
    endpoint_id, _ = await harness.add_endpoint()

    after = await harness.fan_out_log()

    assert (before, after) == (0, 0)
    assert await types_of(harness, endpoint_id) == []


async def test_new_events_are_seen_without_a_lock(
    harness: DeliveryHarness, committed_uow: NewUow
) -> None:
    async def has_new_events() -> bool:
        async with committed_uow() as uow:
            return await fan_out.has_new_events(uow)

    await harness.fan_out_log()
    await harness.emit()
    without_endpoint = await has_new_events()
    await harness.add_endpoint()
    before = await has_new_events()
    await harness.emit()
    after_an_event = await has_new_events()
    await harness.fan_out_log()
    after_fan_out = await has_new_events()

    assert (without_endpoint, before, after_an_event, after_fan_out) == (False, False, True, False)


async def _insert_event_of_later_version(harness: DeliveryHarness) -> None:
    """Insert an event of a type that only a later version of the service knows."""
    async with harness.new_uow() as uow:
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


async def _delete_event_of_later_version(harness: DeliveryHarness) -> None:
    async with harness.new_uow() as uow:
        await uow.session.execute(text("DELETE FROM event WHERE type = 'of.tomorrow'"))
        await uow.session.execute(text("ALTER TABLE event VALIDATE CONSTRAINT ck_event_type"))


async def test_event_of_another_version_does_not_stop_later_events(
    harness: DeliveryHarness,
) -> None:
    endpoint_id, _ = await harness.add_endpoint()
    # An event of this type must have a status, so this event is invalid.
    await harness.emit(EventType.MESSAGE_STATUS)
    await _insert_event_of_later_version(harness)
    await harness.emit(EventType.OPT_IN)

    await harness.fan_out_log()

    await _delete_event_of_later_version(harness)
    assert await types_of(harness, endpoint_id) == ["opt_in"]


async def test_copy_on_another_server_continues_from_its_position(harness: DeliveryHarness) -> None:
    """Test a copy of the database on a server with much lower transaction numbers.

    A new server counts its transactions from the beginning.
    """
    endpoint_id, _ = await harness.add_endpoint()
    await harness.emit(EventType.OPT_OUT)
    await harness.fan_out_log()
    async with harness.new_uow() as uow:
        for change in (
            "webhook_cursor SET transaction_id = transaction_id + 1000000000",
            "webhook_endpoint SET since_transaction = since_transaction + 1000000000",
        ):
            await uow.session.execute(text(f"UPDATE {change}"))

    made = [await harness.fan_out_log()]
    await harness.emit(EventType.OPT_IN)
    made.append(await harness.fan_out_log())

    assert made == [0, 1]
    assert await types_of(harness, endpoint_id) == ["opt_out", "opt_in"]
