"""Deliveries reach endpoints, signed; failures are retried by the schedule until its end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from standardwebhooks.webhooks import WebhookVerificationError
from tests.domain.outbound.webhook_deliveries.receiver import ReceivedDelivery, Receiver, receiver
from tests.domain.outbound.webhook_deliveries.support import KEY, SANDBOX, House, NewUow

from crm_api.domain.alerts import service as operations
from crm_api.domain.alerts.models import Alert
from crm_api.domain.outbound.webhook_deliveries import attempts
from crm_api.domain.outbound.webhook_deliveries import service as deliveries
from crm_api.domain.outbound.webhook_deliveries.attempts import ClaimedDelivery, DeliveryResult
from crm_api.domain.outbound.webhook_deliveries.dispatch import AHEAD, LEASE, PER_ENDPOINT
from crm_api.domain.outbound.webhook_deliveries.schedule import WAITS, EndpointAnswer
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.domain.outbound.webhook_endpoints import activation
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.platform import clock, failpoints
from crm_api.platform.ids import new_id

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as server:
        yield server


@pytest.fixture
def house(new_uow: NewUow) -> House:
    """In the test's transaction; the fan-out needs real commits (``test_fan_out``)."""
    return House(new_uow)


async def alerts(house: House) -> list[Alert]:
    async with house.new_uow() as uow:
        page = await operations.list_alerts(
            uow, kind=endpoints.DISABLED_ALERT, cursor=None, limit=9
        )
    return page.data


async def statuses(house: House) -> list[tuple[str, int]]:
    return [(row.status, row.attempts) for row in await house.rows()]


async def test_message_is_what_the_library_of_a_receiver_believes(
    house: House, server: Receiver
) -> None:
    endpoint_id, secret = await house.endpoint(server.url())
    (delivery_id,) = await house.try_out(endpoint_id)

    await house.deliver()

    (received,) = server.told
    payload = received.verify(secret)
    assert received.id == str(delivery_id)
    assert list(payload) == ["type", "timestamp", "data"]
    assert (payload["type"], payload["data"]) == ("webhook.test", {"endpoint_id": str(endpoint_id)})
    (row,) = await house.rows()
    assert (row.status, row.attempts, row.response_status) == ("delivered", 1, 204)
    assert row.delivered_at == house.now


async def test_another_secret_or_another_body_is_not_believed(
    house: House, server: Receiver
) -> None:
    endpoint_id, secret = await house.endpoint(server.url())
    _, other = await house.endpoint(server.url())
    await house.try_out(endpoint_id)

    await house.deliver()

    (received,) = server.told
    for headers, body, key in (
        (received.headers, received.body, other),
        (received.headers, received.body.replace("test", "best"), secret),
        ({**received.headers, "webhook-id": "another"}, received.body, secret),
    ):
        with pytest.raises(WebhookVerificationError):
            ReceivedDelivery(path="", headers=headers, body=body).verify(key)


async def test_rotated_secret_signs_beside_the_old_one_until_the_grace_is_over(
    house: House, server: Receiver
) -> None:
    endpoint_id, old = await house.endpoint(server.url())
    async with house.new_uow() as uow:
        new, until = await endpoints.rotate_secret(
            uow, endpoint_id=endpoint_id, grace=DAY, actor="key", key=KEY, now=house.now
        )

    await house.try_out(endpoint_id)
    await house.deliver()
    during = server.told[-1]
    house.now = until
    await house.try_out(endpoint_id)
    await house.deliver()
    after = server.told[-1]

    assert [len(one.signatures) for one in (during, after)] == [2, 1]
    during.verify(old)
    during.verify(new)
    assert during.signatures[0] != during.signatures[1]
    async with house.new_uow() as uow:
        removed = await deliveries.forget_old_deliveries(uow, now=until)
    assert removed == 1


async def test_secret_under_another_key_is_recorded_as_a_failure(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    await house.rows(
        "UPDATE webhook_secret SET sealed = CAST('\\x0102' AS bytea) RETURNING endpoint_id"
    )
    await house.try_out(endpoint_id)

    await house.deliver()

    (row,) = await house.rows()
    assert (row.status, row.error_code) == ("pending", "secret_unreadable")
    assert "Rotate" in row.last_error
    assert server.told == []


async def test_failure_is_tried_again_by_the_schedule_under_one_id_and_given_up(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    server.answer(500, body=b"broken")
    await house.try_out(endpoint_id)

    tries = []
    await house.deliver()
    for wait in WAITS:
        tries.append(len(server.told))
        await house.deliver(after=wait - timedelta(seconds=1))
        assert len(server.told) == tries[-1]
        await house.deliver(after=timedelta(seconds=1))
    await house.deliver(after=30 * DAY)

    assert tries == [*range(1, len(WAITS) + 1)]
    assert len(server.told) == 10
    assert len({received.id for received in server.told}) == 1
    assert len({received.headers["webhook-timestamp"] for received in server.told}) == 10
    (row,) = await house.rows()
    assert (row.status, row.attempts, row.error_code) == ("failed", 10, "http_500")
    assert row.response_body == "broken"


async def test_success_after_failures_is_a_success(house: House, server: Receiver) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    server.answer(500, 302, 204)
    await house.try_out(endpoint_id)

    await house.deliver()
    failing_since = (await house.read(endpoint_id)).failing_since
    begun = house.now
    await house.deliver(after=5 * timedelta(seconds=1))
    still = (await house.read(endpoint_id)).failing_since
    await house.deliver(after=5 * MINUTE)

    (row,) = await house.rows()
    assert (row.status, row.attempts, row.error_code) == ("delivered", 3, None)
    assert failing_since == still == begun
    assert (await house.read(endpoint_id)).failing_since is None


async def test_endpoint_that_asks_for_patience_is_left_alone(
    house: House, server: Receiver
) -> None:
    """The whole endpoint, not only the delivery with that answer."""
    endpoint_id, _ = await house.endpoint(server.url())
    server.answer(429, 204, headers={"retry-after": "600"})
    await house.try_out(endpoint_id)
    await house.deliver()
    await house.try_out(endpoint_id, times=3)

    await house.deliver(after=9 * MINUTE)
    asked = len(server.told)
    await house.deliver(after=MINUTE)

    assert (asked, len(server.told)) == (1, 5)
    assert {status for status, _ in await statuses(house)} == {"delivered"}
    assert (await house.read(endpoint_id)).held_until is None


async def test_endpoint_that_is_gone_is_disabled_at_once_with_an_alert(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    server.answer(410)
    await house.try_out(endpoint_id)

    await house.deliver()

    endpoint = await house.read(endpoint_id)
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "gone")
    assert await statuses(house) == [("failed", 1)]
    (alert,) = await alerts(house)
    assert "410" in alert.detail
    assert f"POST /v1/webhook-endpoints/{endpoint_id}/enable" in alert.detail


async def test_endpoint_that_takes_nothing_for_five_days_is_disabled_with_an_alert(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    other_id, _ = await house.endpoint(server.url("/other"))
    server.answer(500)
    await house.try_out(endpoint_id)
    await house.try_out(other_id)
    await house.deliver()
    await house.deliver(after=5 * DAY - MINUTE)
    early = await house.read(endpoint_id)
    await house.try_out(endpoint_id)

    await house.deliver(after=2 * MINUTE)

    endpoint = await house.read(endpoint_id)
    assert early.status == "active"
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "failing")
    assert (await house.read(other_id)).status == "active"
    (alert,) = await alerts(house)
    assert alert.subject == str(endpoint_id)
    assert alert.status == "open"


async def test_enabled_endpoint_gets_what_waited_and_the_alert_is_over(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    server.answer(410, 204)
    waiting = await house.try_out(endpoint_id)
    await house.deliver()
    await house.rows(
        "UPDATE webhook_delivery SET status = 'pending' WHERE id = :id RETURNING id", id=waiting[0]
    )
    await house.deliver(after=DAY)
    disabled = len(server.told)

    async with house.new_uow() as uow:
        await activation.enable_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=house.now)
    await house.deliver()

    assert (disabled, len(server.told)) == (1, 2)
    assert await statuses(house) == [("delivered", 2)]
    assert [alert.status for alert in await alerts(house)] == ["resolved"]
    assert (await house.read(endpoint_id)).failing_since is None


async def test_deleted_endpoint_gets_nothing_more_and_is_forgotten(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    await house.try_out(endpoint_id, times=3)
    async with house.new_uow() as uow:
        await endpoints.delete_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=house.now)

    await house.deliver()
    counts: list[int] = []
    while not counts or counts[-1]:
        async with house.new_uow() as uow:
            counts.append(await deliveries.forget_old_deliveries(uow, now=house.now, limit=2))

    assert server.told == []
    assert counts == [2, 1, 1, 0]
    assert await house.rows("SELECT id FROM webhook_endpoint") == []


async def test_history_is_kept_for_two_weeks(house: House, server: Receiver) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    await house.try_out(endpoint_id)
    await house.deliver()
    begun = house.now

    kept = []
    for days in (13, 15):
        async with house.new_uow() as uow:
            await deliveries.forget_old_deliveries(uow, now=begun + days * DAY)
        kept.append(len(await house.rows()))

    assert kept == [1, 0]


async def test_endpoint_that_hangs_holds_up_no_other(house: House, server: Receiver) -> None:
    house.timeout_seconds = 0.3
    server.hanging.add("/hangs")
    hanging_id, _ = await house.endpoint(server.url("/hangs"))
    good_id, _ = await house.endpoint(server.url("/good"))
    await house.try_out(hanging_id, times=AHEAD + 10)
    await house.try_out(good_id, times=40)

    delivering = asyncio.create_task(house.deliver(for_seconds=0.25))
    await server.until(40, "/good")
    assert not delivering.done()
    await delivering

    assert server.most_at_once["/hangs"] == PER_ENDPOINT
    assert server.most_at_once["/good"] <= PER_ENDPOINT
    tried = await house.rows(
        "SELECT status, error_code, attempts, next_attempt_at <= :now AS is_due, count(*) AS count"
        " FROM webhook_delivery WHERE endpoint_id = :id GROUP BY 1, 2, 3, 4 ORDER BY attempts",
        id=hanging_id,
        now=house.now,
    )
    assert [(row.status, row.error_code, row.attempts, row.is_due, row.count) for row in tried] == [
        ("pending", None, 0, True, AHEAD + 10 - PER_ENDPOINT),
        ("pending", "timeout", 1, False, PER_ENDPOINT),
    ]


async def test_failing_endpoint_is_asked_by_two_calls_at_a_time(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    server.answer(500)
    await house.try_out(endpoint_id)
    await house.deliver()
    await house.try_out(endpoint_id, times=7)

    await house.deliver()

    assert len(server.told) == 8
    assert server.most_at_once["/hook"] <= 2


async def test_call_of_a_worker_that_dies_is_made_again_with_its_id(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    await house.try_out(endpoint_id)

    async def die(step: str) -> None:
        if step == "webhooks.posted":
            raise asyncio.CancelledError

    failpoints.set_hook(die)
    try:
        with pytest.raises(asyncio.CancelledError):
            await house.deliver()
    finally:
        failpoints.set_hook(None)
    (claimed,) = await house.rows()
    await house.deliver(after=LEASE - timedelta(seconds=1))
    within_lease = len(server.told)
    await house.deliver(after=timedelta(seconds=1))

    assert (claimed.status, claimed.attempts, within_lease) == ("pending", 0, 1)
    assert await statuses(house) == [("delivered", 1)]
    assert [received.id for received in server.told] == [str(claimed.id)] * 2


async def test_late_word_of_a_worker_that_lost_its_claim_is_not_written(house: House) -> None:
    endpoint_id, _ = await house.endpoint()
    await house.try_out(endpoint_id)

    async def claim() -> ClaimedDelivery:
        async with house.new_uow() as uow:
            (one,) = await attempts.claim_deliveries(
                uow, allowances={endpoint_id: 9}, lease=LEASE, now=house.now
            )
        return one

    async def record(claimed: ClaimedDelivery, reply: EndpointAnswer) -> None:
        async with house.new_uow() as uow:
            outcome = DeliveryResult(claimed=claimed, reply=reply)
            await attempts.record_results(uow, [outcome], disable_after=DAY, now=house.now)

    first = await claim()
    house.now += LEASE
    second = await claim()
    await record(second, EndpointAnswer(status=204))
    await record(first, EndpointAnswer(error_code="timeout", detail="No answer."))

    (row,) = await house.rows()
    assert (row.status, row.attempts, row.error_code) == ("delivered", 1, None)


async def test_two_workers_send_each_message_once(committed_uow: NewUow, server: Receiver) -> None:
    house = House(committed_uow)
    endpoint_id, _ = await house.endpoint(server.url())
    await house.try_out(endpoint_id, times=5)
    await house.happens(times=60)

    await asyncio.gather(*(house.deliver() for _ in range(3)))

    assert len(server.told) == len({received.id for received in server.told}) == 65
    assert {status for status, _ in await statuses(house)} == {"delivered"}


async def test_stopping_worker_ends_its_calls_and_leaves_the_rest(
    house: House, server: Receiver
) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    await house.try_out(endpoint_id, times=30)
    async with WebhookSender(SANDBOX, timeout_seconds=5.0) as sender:
        dispatcher = house.dispatcher(sender)

        async def stop(_: str) -> None:
            dispatcher.stop()

        failpoints.set_hook(stop)
        try:
            await dispatcher.run(for_seconds=30.0)
        finally:
            failpoints.set_hook(None)

    received = len(server.told)
    assert 0 < received < 30
    counts = dict.fromkeys(("delivered", "pending"), 0)
    for row in await house.rows():
        counts[row.status] += 1
        assert row.status == "delivered" or row.next_attempt_at <= house.now
    assert counts == {"delivered": received, "pending": 30 - received}


async def test_retried_message_comes_again_under_its_id(house: House, server: Receiver) -> None:
    endpoint_id, secret = await house.endpoint(server.url())
    (delivery_id,) = await house.try_out(endpoint_id)
    await house.deliver()

    async with house.new_uow() as uow:
        await deliveries.retry_delivery(
            uow, endpoint_id=endpoint_id, delivery_id=delivery_id, now=house.now
        )
    await house.deliver()

    first, again = server.told
    assert first.id == again.id == str(delivery_id)
    assert first.body == again.body
    again.verify(secret)
    assert await statuses(house) == [("delivered", 1)]


async def test_messages_go_in_the_order_of_what_happened(house: House, server: Receiver) -> None:
    endpoint_id, _ = await house.endpoint(server.url())
    made = await house.try_out(endpoint_id, times=5)

    async with house.new_uow() as uow:
        claimed = await attempts.claim_deliveries(
            uow, allowances={endpoint_id: 3}, lease=LEASE, now=clock.now()
        )

    assert [one.id for one in claimed] == sorted(made)[:3]


def test_ids_are_made_in_order() -> None:
    """The order of deliveries depends on it."""
    made: list[UUID] = [new_id() for _ in range(1_000)]

    assert made == sorted(made)
