"""Queries on webhook endpoints and their deliveries that must use an index."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, sql, use_case
from tests.migrations.support import Call

from crm_api.domain.kit.paging import Cursors
from crm_api.domain.outbound.webhook_deliveries import attempts
from crm_api.domain.outbound.webhook_deliveries import service as deliveries
from crm_api.domain.outbound.webhook_deliveries.attempts import ClaimedDelivery, DeliveryResult
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus
from crm_api.domain.outbound.webhook_deliveries.schedule import EndpointResponse
from crm_api.domain.outbound.webhook_deliveries.service import DeliverySelection
from crm_api.domain.outbound.webhook_endpoints import health
from crm_api.domain.outbound.webhook_endpoints import service as endpoints

ENDPOINT = made_id("endpoint", 1)
CLAIMED = ClaimedDelivery(
    id=made_id("delivery", 7),
    endpoint_id=ENDPOINT,
    type="opt_out",
    happened_at=NOW,
    data={},
    attempts=0,
    claims=0,
)


def _record(answer: EndpointResponse | None) -> Call:
    results = [DeliveryResult(claimed=CLAIMED, reply=answer)]
    return use_case(
        lambda uow: attempts.record_results(uow, results, disable_after=timedelta(days=5), now=NOW)
    )


def _list(status: DeliveryStatus | None = None) -> Call:
    selection = DeliverySelection(endpoint_id=ENDPOINT, status=status)
    cursor = Cursors("webhook_deliveries", selection=selection).write(*PLACE)
    return use_case(lambda uow: deliveries.list_deliveries(uow, selection, cursor=cursor, limit=50))


ENDPOINTS = [
    Hot(
        "endpoints, newest first",
        {"idx_webhook_endpoint_created"},
        use_case(
            lambda uow: endpoints.list_endpoints(
                uow, cursor=Cursors("webhook_endpoints").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "endpoints with a due delivery, with their secrets",
        {"idx_webhook_delivery_due", "idx_webhook_secret_endpoint"},
        sql(health.LIST_DUE, now=NOW),
        is_generic=True,
    ),
    Hot(
        "the current secret of an endpoint, replaced",
        {"uq_webhook_secret_current"},
        use_case(
            lambda uow: endpoints.add_secret(uow, ENDPOINT, key=bytes(32), old_until=NOW, now=NOW)
        ),
    ),
    Hot(
        "deliveries that are due",
        {"idx_webhook_delivery_due"},
        use_case(
            lambda uow: attempts.claim_deliveries(
                uow, allowances={ENDPOINT: 50}, lease=timedelta(minutes=1), now=NOW
            )
        ),
        is_generic=True,
    ),
    Hot(
        "delivery attempts, stored",
        {"pk_webhook_delivery"},
        _record(EndpointResponse(status=204, body="", duration_ms=5)),
    ),
    Hot(
        "deliveries that are released",
        {"pk_webhook_delivery"},
        _record(None),
    ),
    Hot("deliveries of an endpoint, newest first", {"idx_webhook_delivery_created"}, _list()),
    Hot(
        "deliveries of an endpoint that failed",
        {"idx_webhook_delivery_failed"},
        _list(DeliveryStatus.FAILED),
    ),
    Hot(
        "failed deliveries, begun again",
        {"idx_webhook_delivery_failed"},
        use_case(
            lambda uow: deliveries._restart_deliveries(
                uow, DeliverySelection(endpoint_id=ENDPOINT, status=DeliveryStatus.FAILED), now=NOW
            )
        ),
    ),
    Hot(
        "old deliveries",
        {"idx_webhook_delivery_created"},
        sql(deliveries.FORGET, before=NOW - timedelta(days=14), limit=100),
    ),
    Hot(
        "deleted endpoints without deliveries",
        {"idx_webhook_delivery_created"},
        sql(health.REMOVE_DELETED),
    ),
]
