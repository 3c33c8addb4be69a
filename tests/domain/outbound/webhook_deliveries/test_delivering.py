"""Deliveries are signed and reach endpoints. A schedule decides when failed ones are retried."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from standardwebhooks.webhooks import WebhookVerificationError
from tests.domain.outbound.webhook_deliveries.receiver import ReceivedDelivery, Receiver, receiver
from tests.domain.outbound.webhook_deliveries.support import KEY, SANDBOX, DeliveryHarness, NewUow

from crm_api.domain.alerts import service as operations
from crm_api.domain.alerts.models import Alert
from crm_api.domain.outbound.webhook_deliveries import attempts
from crm_api.domain.outbound.webhook_deliveries import service as deliveries
from crm_api.domain.outbound.webhook_deliveries.attempts import ClaimedDelivery, DeliveryResult
from crm_api.domain.outbound.webhook_deliveries.dispatch import AHEAD, LEASE, PER_ENDPOINT
from crm_api.domain.outbound.webhook_deliveries.schedule import WAITS, EndpointResponse
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.domain.outbound.webhook_deliveries.service import DeliverySelection
from crm_api.domain.outbound.webhook_endpoints import activation
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.platform import clock, failpoints
from crm_api.platform.ids import new_id

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HEALTH = "SELECT status, disabled_reason, failing_since, held_until FROM webhook_endpoint"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as server:
        yield server


@pytest.fixture
def harness(new_uow: NewUow) -> DeliveryHarness:
    """Return a harness that works in the transaction of the test.

    Tests that need real commits are in ``test_fan_out``.
    """
    return DeliveryHarness(new_uow)


async def alerts(harness: DeliveryHarness) -> list[Alert]:
    async with harness.new_uow() as uow:
        page = await operations.list_alerts(
            uow, kind=endpoints.DISABLED_ALERT, cursor=None, limit=9
        )
    return page.data


async def statuses(harness: DeliveryHarness) -> list[tuple[str, int]]:
    return [(row.status, row.attempts) for row in await harness.rows()]


async def test_delivery_is_verified_by_the_library_of_a_receiver(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, secret = await harness.add_endpoint(server.url())
    (delivery_id,) = await harness.send_tests(endpoint_id)

    await harness.deliver()

    (received,) = server.received
    payload = received.verify(secret)
    assert received.id == str(delivery_id)
    assert list(payload) == ["type", "timestamp", "data"]
    assert (payload["type"], payload["data"]) == ("webhook.test", {"endpoint_id": str(endpoint_id)})
    (row,) = await harness.rows()
    assert (row.status, row.attempts, row.response_status) == ("delivered", 1, 204)
    assert row.delivered_at == harness.now


async def test_delivery_with_another_secret_body_or_id_is_not_verified(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, secret = await harness.add_endpoint(server.url())
    _, other = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id)

    await harness.deliver()

    (received,) = server.received
    for headers, body, key in (
        (received.headers, received.body, other),
        (received.headers, received.body.replace("test", "best"), secret),
        ({**received.headers, "webhook-id": "another"}, received.body, secret),
    ):
        with pytest.raises(WebhookVerificationError):
            ReceivedDelivery(path="", headers=headers, body=body).verify(key)


async def test_new_and_old_secret_both_sign_until_the_grace_ends(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, old = await harness.add_endpoint(server.url())
    async with harness.new_uow() as uow:
        new, until = await endpoints.rotate_secret(
            uow, endpoint_id=endpoint_id, grace=DAY, actor="key", key=KEY, now=harness.now
        )

    await harness.send_tests(endpoint_id)
    await harness.deliver()
    during = server.received[-1]
    harness.now = until
    await harness.send_tests(endpoint_id)
    await harness.deliver()
    after = server.received[-1]

    assert [len(one.signatures) for one in (during, after)] == [2, 1]
    during.verify(old)
    during.verify(new)
    assert during.signatures[0] != during.signatures[1]
    async with harness.new_uow() as uow:
        removed = await deliveries.forget_old_deliveries(uow, now=until)
    assert removed == 1


async def test_secret_under_another_key_is_recorded_as_a_failure(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.rows(
        "UPDATE webhook_secret SET sealed = CAST('\\x0102' AS bytea) RETURNING endpoint_id"
    )
    await harness.send_tests(endpoint_id)

    await harness.deliver()

    (row,) = await harness.rows()
    assert (row.status, row.error_code) == ("pending", "secret_unreadable")
    assert "Rotate" in row.last_error
    assert server.received == []


async def test_failed_delivery_is_retried_by_the_schedule_under_one_id_and_ends(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    server.answer(500, body=b"broken")
    await harness.send_tests(endpoint_id)

    attempts_before = []
    await harness.deliver()
    for wait in WAITS:
        attempts_before.append(len(server.received))
        await harness.deliver(after=wait - timedelta(seconds=1))
        assert len(server.received) == attempts_before[-1]
        await harness.deliver(after=timedelta(seconds=1))
    await harness.deliver(after=30 * DAY)

    assert attempts_before == [*range(1, len(WAITS) + 1)]
    assert len(server.received) == 10
    assert len({received.id for received in server.received}) == 1
    assert len({received.headers["webhook-timestamp"] for received in server.received}) == 10
    (row,) = await harness.rows()
    assert (row.status, row.attempts, row.error_code) == ("failed", 10, "http_500")
    assert row.response_body == "broken"


async def test_success_after_failures_clears_the_failure(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    server.answer(500, 302, 204)
    await harness.send_tests(endpoint_id)

    await harness.deliver()
    failing_since = (await harness.read(endpoint_id)).failing_since
    begun = harness.now
    await harness.deliver(after=5 * timedelta(seconds=1))
    still = (await harness.read(endpoint_id)).failing_since
    await harness.deliver(after=5 * MINUTE)

    (row,) = await harness.rows()
    assert (row.status, row.attempts, row.error_code) == ("delivered", 3, None)
    assert failing_since == still == begun
    assert (await harness.read(endpoint_id)).failing_since is None


async def test_endpoint_that_asks_for_a_pause_gets_no_delivery_during_it(
    harness: DeliveryHarness, server: Receiver
) -> None:
    """Test that a pause stops all deliveries to the endpoint until it ends.

    The response to one delivery requested the pause.
    """
    endpoint_id, _ = await harness.add_endpoint(server.url())
    server.answer(429, 204, headers={"retry-after": "600"})
    await harness.send_tests(endpoint_id)
    await harness.deliver()
    await harness.send_tests(endpoint_id, times=3)

    await harness.deliver(after=9 * MINUTE)
    during_pause = len(server.received)
    await harness.deliver(after=MINUTE)

    assert (during_pause, len(server.received)) == (1, 5)
    assert {status for status, _ in await statuses(harness)} == {"delivered"}
    assert (await harness.read(endpoint_id)).held_until is None


async def test_endpoint_that_is_gone_is_disabled_at_once_with_an_alert(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    server.answer(410)
    await harness.send_tests(endpoint_id)

    await harness.deliver()

    endpoint = await harness.read(endpoint_id)
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "gone")
    assert await statuses(harness) == [("failed", 1)]
    (alert,) = await alerts(harness)
    assert "410" in alert.detail
    assert f"POST /v1/webhook-endpoints/{endpoint_id}/enable" in alert.detail


async def test_endpoint_that_fails_for_five_days_is_disabled_with_an_alert(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    other_id, _ = await harness.add_endpoint(server.url("/other"))
    server.answer(500)
    await harness.send_tests(endpoint_id)
    await harness.send_tests(other_id)
    await harness.deliver()
    await harness.deliver(after=5 * DAY - MINUTE)
    early = await harness.read(endpoint_id)
    await harness.send_tests(endpoint_id)

    await harness.deliver(after=2 * MINUTE)

    endpoint = await harness.read(endpoint_id)
    assert early.status == "active"
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "failing")
    assert (await harness.read(other_id)).status == "active"
    (alert,) = await alerts(harness)
    assert alert.subject == str(endpoint_id)
    assert alert.status == "open"


async def test_enabled_endpoint_gets_waiting_deliveries_and_its_alert_ends(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    server.answer(410, 204)
    waiting = await harness.send_tests(endpoint_id)
    await harness.deliver()
    await harness.rows(
        "UPDATE webhook_delivery SET status = 'pending' WHERE id = :id RETURNING id", id=waiting[0]
    )
    await harness.deliver(after=DAY)
    disabled = len(server.received)

    async with harness.new_uow() as uow:
        await activation.enable_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=harness.now)
    await harness.deliver()

    assert (disabled, len(server.received)) == (1, 2)
    assert await statuses(harness) == [("delivered", 2)]
    assert [alert.status for alert in await alerts(harness)] == ["resolved"]
    assert (await harness.read(endpoint_id)).failing_since is None


async def test_deleted_endpoint_gets_no_more_deliveries_and_its_rows_are_removed(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id, times=3)
    async with harness.new_uow() as uow:
        await endpoints.delete_endpoint(uow, endpoint_id=endpoint_id, actor="key", now=harness.now)

    await harness.deliver()
    counts: list[int] = []
    while not counts or counts[-1]:
        async with harness.new_uow() as uow:
            counts.append(await deliveries.forget_old_deliveries(uow, now=harness.now, limit=2))

    assert server.received == []
    assert counts == [2, 1, 1, 0]
    assert await harness.rows("SELECT id FROM webhook_endpoint") == []


@pytest.mark.parametrize(
    ("status", "failing_for"),
    [(410, timedelta(0)), (500, 6 * DAY), (429, timedelta(0)), (204, 6 * DAY)],
)
async def test_result_for_an_endpoint_that_was_deleted_during_the_request_has_no_effect(
    harness: DeliveryHarness, server: Receiver, status: int, failing_for: timedelta
) -> None:
    """Test that a late result does not change or disable a deleted endpoint, and raises no alert.

    No request could resolve such an alert, because the endpoint is deleted.
    """
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id)
    if failing_for:
        await harness.rows(
            "UPDATE webhook_endpoint SET failing_since = :since RETURNING id",
            since=harness.now - failing_for,
        )
    server.answer(status, headers={"retry-after": "600"})

    async def delete(step: str) -> None:
        if step != "webhooks.posted":
            return
        async with harness.new_uow() as uow:
            await endpoints.delete_endpoint(
                uow, endpoint_id=endpoint_id, actor="key", now=harness.now
            )

    before = await harness.rows(HEALTH)
    failpoints.set_hook(delete)
    try:
        await harness.deliver()
    finally:
        failpoints.set_hook(None)

    assert len(server.received) == 1
    assert await harness.rows(HEALTH) == before
    assert await alerts(harness) == []


async def test_finished_deliveries_are_kept_for_two_weeks(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id)
    await harness.deliver()
    begun = harness.now

    kept = []
    for days in (13, 15):
        async with harness.new_uow() as uow:
            await deliveries.forget_old_deliveries(uow, now=begun + days * DAY)
        kept.append(len(await harness.rows()))

    assert kept == [1, 0]


async def test_hanging_endpoint_delays_no_other(harness: DeliveryHarness, server: Receiver) -> None:
    harness.timeout_seconds = 0.3
    server.hanging.add("/hangs")
    hanging_id, _ = await harness.add_endpoint(server.url("/hangs"))
    good_id, _ = await harness.add_endpoint(server.url("/good"))
    await harness.send_tests(hanging_id, times=AHEAD + 10)
    await harness.send_tests(good_id, times=40)

    delivering = asyncio.create_task(harness.deliver(for_seconds=0.25))
    await server.wait_for(40, "/good")
    assert not delivering.done()
    await delivering

    assert server.most_at_once["/hangs"] == PER_ENDPOINT
    assert server.most_at_once["/good"] <= PER_ENDPOINT
    tried = await harness.rows(
        "SELECT status, error_code, attempts, next_attempt_at <= :now AS is_due, count(*) AS count"
        " FROM webhook_delivery WHERE endpoint_id = :id GROUP BY 1, 2, 3, 4 ORDER BY attempts",
        id=hanging_id,
        now=harness.now,
    )
    assert [(row.status, row.error_code, row.attempts, row.is_due, row.count) for row in tried] == [
        ("pending", None, 0, True, AHEAD + 10 - PER_ENDPOINT),
        ("pending", "timeout", 1, False, PER_ENDPOINT),
    ]


async def test_failing_endpoint_gets_at_most_two_calls_at_a_time(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    server.answer(500)
    await harness.send_tests(endpoint_id)
    await harness.deliver()
    await harness.send_tests(endpoint_id, times=7)

    await harness.deliver()

    assert len(server.received) == 8
    assert server.most_at_once["/hook"] <= 2


async def test_call_of_a_worker_that_dies_is_repeated_under_its_id(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id)

    async def die(step: str) -> None:
        if step == "webhooks.posted":
            raise asyncio.CancelledError

    failpoints.set_hook(die)
    try:
        with pytest.raises(asyncio.CancelledError):
            await harness.deliver()
    finally:
        failpoints.set_hook(None)
    (claimed,) = await harness.rows()
    await harness.deliver(after=LEASE - timedelta(seconds=1))
    within_lease = len(server.received)
    await harness.deliver(after=timedelta(seconds=1))

    assert (claimed.status, claimed.attempts, within_lease) == ("pending", 0, 1)
    assert await statuses(harness) == [("delivered", 1)]
    assert [received.id for received in server.received] == [str(claimed.id)] * 2


async def test_late_result_of_a_worker_that_lost_its_claim_is_not_written(
    harness: DeliveryHarness,
) -> None:
    endpoint_id, _ = await harness.add_endpoint()
    await harness.send_tests(endpoint_id)

    async def claim() -> ClaimedDelivery:
        async with harness.new_uow() as uow:
            (one,) = await attempts.claim_deliveries(
                uow, allowances={endpoint_id: 9}, lease=LEASE, now=harness.now
            )
        return one

    async def record(claimed: ClaimedDelivery, reply: EndpointResponse) -> None:
        async with harness.new_uow() as uow:
            outcome = DeliveryResult(claimed=claimed, reply=reply)
            await attempts.record_results(uow, [outcome], disable_after=DAY, now=harness.now)

    first = await claim()
    harness.now += LEASE
    second = await claim()
    await record(second, EndpointResponse(status=204))
    await record(first, EndpointResponse(error_code="timeout", detail="No answer."))

    (row,) = await harness.rows()
    assert (row.status, row.attempts, row.error_code) == ("delivered", 1, None)


async def test_concurrent_workers_send_each_delivery_once(
    committed_uow: NewUow, server: Receiver
) -> None:
    harness = DeliveryHarness(committed_uow)
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id, times=5)
    await harness.emit(times=60)

    await asyncio.gather(*(harness.deliver() for _ in range(3)))

    assert len(server.received) == len({received.id for received in server.received}) == 65
    assert {status for status, _ in await statuses(harness)} == {"delivered"}


async def test_stopping_worker_ends_its_calls_and_leaves_the_rest(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    await harness.send_tests(endpoint_id, times=30)
    async with WebhookSender(SANDBOX, timeout_seconds=5.0) as sender:
        dispatcher = harness.dispatcher(sender)

        async def stop(_: str) -> None:
            dispatcher.stop()

        failpoints.set_hook(stop)
        try:
            await dispatcher.run(for_seconds=30.0)
        finally:
            failpoints.set_hook(None)

    received = len(server.received)
    assert 0 < received < 30
    counts = dict.fromkeys(("delivered", "pending"), 0)
    for row in await harness.rows():
        counts[row.status] += 1
        assert row.status == "delivered" or row.next_attempt_at <= harness.now
    assert counts == {"delivered": received, "pending": 30 - received}


async def test_retried_delivery_is_sent_again_under_its_id(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, secret = await harness.add_endpoint(server.url())
    (delivery_id,) = await harness.send_tests(endpoint_id)
    await harness.deliver()

    async with harness.new_uow() as uow:
        await deliveries.retry_delivery(
            uow, endpoint_id=endpoint_id, delivery_id=delivery_id, now=harness.now
        )
    await harness.deliver()

    first, again = server.received
    assert first.id == again.id == str(delivery_id)
    assert first.body == again.body
    again.verify(secret)
    assert await statuses(harness) == [("delivered", 1)]


@pytest.mark.parametrize("answer", [500, 204])
@pytest.mark.parametrize("is_bulk", [False, True])
async def test_retry_that_is_requested_during_an_attempt_is_not_lost(
    harness: DeliveryHarness, server: Receiver, answer: int, *, is_bulk: bool
) -> None:
    """Test that the result of an attempt overwrites no retry that was requested during the attempt.

    The attempt is the last one of the schedule, so its failure would be final.
    """
    endpoint_id, _ = await harness.add_endpoint(server.url())
    (delivery_id,) = await harness.send_tests(endpoint_id)
    await harness.rows(
        "UPDATE webhook_delivery SET attempts = :tried RETURNING id", tried=len(WAITS)
    )
    server.answer(answer, 204)
    selection = DeliverySelection(endpoint_id=endpoint_id)

    async def retry(step: str) -> None:
        if step != "webhooks.posted":
            return
        failpoints.set_hook(None)
        async with harness.new_uow() as uow:
            if is_bulk:
                await deliveries.retry_deliveries(uow, selection, actor="key", now=harness.now)
            else:
                await deliveries.retry_delivery(
                    uow, endpoint_id=endpoint_id, delivery_id=delivery_id, now=harness.now
                )

    failpoints.set_hook(retry)
    try:
        await harness.deliver()
    finally:
        failpoints.set_hook(None)

    assert [received.id for received in server.received] == [str(delivery_id)] * 2
    assert await statuses(harness) == [("delivered", 1)]


async def test_deliveries_are_claimed_in_the_order_of_their_events(
    harness: DeliveryHarness, server: Receiver
) -> None:
    endpoint_id, _ = await harness.add_endpoint(server.url())
    made = await harness.send_tests(endpoint_id, times=5)

    async with harness.new_uow() as uow:
        claimed = await attempts.claim_deliveries(
            uow, allowances={endpoint_id: 3}, lease=LEASE, now=clock.now()
        )

    assert [one.id for one in claimed] == sorted(made)[:3]


def test_ids_are_made_in_order() -> None:
    """Test that later ids are larger, because the order of deliveries depends on it."""
    made: list[UUID] = [new_id() for _ in range(1_000)]

    assert made == sorted(made)
