"""Webhook endpoints and deliveries as Prometheus metrics."""

from datetime import timedelta

from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.monitoring.system_metrics.test_metrics import NewUow, scraped
from tests.domain.outbound.webhook_deliveries.support import DeliveryHarness

from crm_api.domain.outbound.webhook_endpoints import activation
from crm_api.domain.outbound.webhook_endpoints import service as endpoints


async def test_endpoints_by_state_and_the_longest_waiting_delivery_are_exported(
    new_uow: NewUow,
) -> None:
    harness = DeliveryHarness(new_uow)
    made = [(await harness.add_endpoint())[0] for _ in range(4)]
    for one in made:
        await harness.send_tests(one)
    async with new_uow() as uow:
        await activation.disable_endpoint(uow, endpoint_id=made[1], actor="key", now=harness.now)
        await endpoints.delete_endpoint(uow, endpoint_id=made[2], actor="key", now=harness.now)
        since = {"at": NOW - timedelta(minutes=3), "id": made[3]}
        for change in (
            "UPDATE webhook_endpoint SET failing_since = :at WHERE id = :id",
            "UPDATE webhook_delivery SET next_attempt_at = :at WHERE endpoint_id = :id",
        ):
            await uow.session.execute(text(change), since)
        # The deliveries of the other endpoints are due for longer. But a delivery of a disabled
        # endpoint does not count as waiting.
        await uow.session.execute(
            text("UPDATE webhook_delivery SET next_attempt_at = :at WHERE endpoint_id <> :id"),
            {"at": NOW - timedelta(hours=3), "id": made[3]},
        )
        await uow.session.execute(
            text("UPDATE webhook_delivery SET status = 'failed' WHERE endpoint_id = :id"),
            {"id": made[0]},
        )

    found = await scraped(new_uow)

    assert found["crm_webhook_endpoints{state=well}"] == 1
    assert found["crm_webhook_endpoints{state=failing}"] == 1
    assert found["crm_webhook_endpoints{state=disabled}"] == 1
    assert found["crm_webhook_deliveries_oldest_due_seconds"] == 180
