"""Queries on webhook endpoints and what is sent to them."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot

from crm_api.domain.webhook_deliveries import queries as deliveries
from crm_api.domain.webhook_deliveries.models import DeliveryStatus
from crm_api.domain.webhook_deliveries.queries import Claimed, Selection, Tried
from crm_api.domain.webhook_endpoints import health_queries as health
from crm_api.domain.webhook_endpoints import queries as endpoints

ENDPOINT = made_id("endpoint", 1)
CLAIMED = Claimed(
    id=made_id("delivery", 7),
    endpoint_id=ENDPOINT,
    type="opt_out",
    happened_at=NOW,
    data={},
    attempts=0,
    claims=0,
)
TRIED = Tried(
    claimed=CLAIMED,
    status=DeliveryStatus.DELIVERED,
    next_attempt_at=NOW,
    duration_ms=5,
    response_status=204,
    response_body="",
    error_code=None,
    last_error=None,
)


async def _list(session: AsyncSession, status: DeliveryStatus | None = None) -> None:
    selection = Selection(endpoint_id=ENDPOINT, status=status)
    await deliveries.list_deliveries(session, selection, after=PLACE, limit=51)


ENDPOINTS = [
    Hot(
        "endpoints, newest first",
        {"idx_webhook_endpoint_created"},
        lambda s: endpoints.list_endpoints(s, after=PLACE, limit=51),
    ),
    Hot(
        "endpoints for which something is due, with their secrets",
        {"idx_webhook_delivery_due", "idx_webhook_secret_endpoint"},
        lambda s: health.list_due(s, now=NOW),
        is_generic=True,
    ),
    Hot(
        "the current secret of an endpoint, replaced",
        {"uq_webhook_secret_current"},
        lambda s: endpoints.replace_secret(
            s, endpoint_id=ENDPOINT, sealed=b"x", old_until=NOW, now=NOW
        ),
    ),
    Hot(
        "deliveries that are due",
        {"idx_webhook_delivery_due"},
        lambda s: deliveries.claim(
            s, allowances={ENDPOINT: 50}, now=NOW, lease_until=NOW + timedelta(minutes=1)
        ),
        is_generic=True,
    ),
    Hot(
        "tries, written down",
        {"pk_webhook_delivery"},
        lambda s: deliveries.record(s, [TRIED], now=NOW),
    ),
    Hot(
        "deliveries that go back",
        {"pk_webhook_delivery"},
        lambda s: deliveries.put_back(s, [CLAIMED], now=NOW),
    ),
    Hot("deliveries of an endpoint, newest first", {"idx_webhook_delivery_created"}, _list),
    Hot(
        "deliveries of an endpoint that failed",
        {"idx_webhook_delivery_failed"},
        lambda s: _list(s, DeliveryStatus.FAILED),
    ),
    Hot(
        "deliveries that failed, begun anew",
        {"idx_webhook_delivery_failed"},
        lambda s: deliveries.begin_anew(
            s, Selection(endpoint_id=ENDPOINT, status=DeliveryStatus.FAILED), now=NOW
        ),
    ),
    Hot(
        "deliveries that are old",
        {"idx_webhook_delivery_created"},
        lambda s: deliveries.forget(s, before=NOW - timedelta(days=14), limit=100),
    ),
    Hot(
        "deleted endpoints without deliveries",
        {"idx_webhook_delivery_created"},
        health.remove_deleted,
    ),
]
