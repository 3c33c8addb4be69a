"""Queries on the health of webhooks that must use an index."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, sql, use_case

from crm_api.domain.inbound.webhook_health import provider_check, service, silence_check
from crm_api.domain.inbound.webhook_health.message_check import TRACE_MESSAGE
from crm_api.domain.inbound.webhook_health.models import WebhookHealthSide
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.monitoring import readiness

CHECKS = [
    Hot(
        "webhook health checks, newest first",
        {"idx_webhook_health_check_created"},
        use_case(
            lambda uow: service.list_checks(
                uow, cursor=Cursors("webhook_health_checks").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "the state of each webhook health check",
        {"idx_webhook_health_check_concluded", "uq_webhook_health_check_waiting"},
        use_case(service.read_sides),
    ),
    Hot(
        "the state of webhook health, for readiness",
        {"idx_webhook_health_check_concluded"},
        sql(readiness.READ_OVERVIEW, jobs=["send_alerts"], late_after=0.0, worth=60.0, now=NOW),
    ),
    Hot(
        "a requested check, stored once",
        {"uq_webhook_health_check_waiting"},
        use_case(
            lambda uow: service.order_check(
                uow, side=WebhookHealthSide.SILENCE, asked_by="schedule", now=NOW
            )
        ),
    ),
    Hot(
        "webhook health checks of months ago",
        {"idx_webhook_health_check_created"},
        use_case(lambda uow: service.forget_old_checks(uow, now=NOW - timedelta(days=30))),
    ),
    Hot(
        "the legs of a test message",
        {"pk_webhook_health_check", "idx_webhook_event_received", "idx_send_attempt_phone"},
        sql(TRACE_MESSAGE, id=made_id("check", 3)),
        is_generic=True,
    ),
    Hot(
        "the last event before a silence",
        {"idx_webhook_event_received"},
        sql(
            silence_check.LAST_EVENT,
            since=NOW - timedelta(days=7),
            mark="Webhook check",
            now=NOW,
        ),
    ),
    Hot(
        "events of the same period in earlier weeks",
        {"idx_webhook_event_received"},
        sql(
            silence_check.COUNT_SLOTS,
            starts=[NOW - timedelta(minutes=2)],
            ends=[NOW - timedelta(minutes=1)],
            slot=timedelta(minutes=10),
            mark="Webhook check",
        ),
    ),
    Hot(
        "events of failed deliveries",
        {"pk_webhook_event_key"},
        sql(provider_check.STORED_EVENTS, event_ids=["EV5", "EV6"]),
    ),
]
