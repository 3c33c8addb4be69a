"""Queries on the health of webhooks."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, sql

from crm_api.domain.operations import queries as operations
from crm_api.domain.webhook_health import queries as health
from crm_api.domain.webhook_health.models import Side

CHECKS = [
    Hot(
        "webhook health checks, newest first",
        {"idx_webhook_health_check_created"},
        lambda s: health.list_checks(s, after=PLACE, limit=51),
    ),
    Hot(
        "how each side of webhook health stands",
        {"idx_webhook_health_check_concluded", "uq_webhook_health_check_waiting"},
        health.standing,
    ),
    Hot(
        "the state of webhook health, for readiness",
        {"idx_webhook_health_check_concluded"},
        lambda s: operations.overview(s, jobs=["send_alerts"], late_after=timedelta(0), now=NOW),
    ),
    Hot(
        "a look that is ordered once",
        {"uq_webhook_health_check_waiting"},
        lambda s: health.order(s, side=Side.SILENCE, asked_by="schedule", now=NOW),
    ),
    Hot(
        "webhook health checks of months ago",
        {"idx_webhook_health_check_created"},
        sql(health.FORGET, before=NOW - timedelta(days=120)),
    ),
    Hot(
        "the legs of a test text",
        {"pk_webhook_health_check", "idx_webhook_event_received", "idx_send_attempt_phone"},
        sql(health.TRACE, id=made_id("check", 3)),
        is_generic=True,
    ),
    Hot(
        "the last event before a silence",
        {"idx_webhook_event_received"},
        lambda s: health.last_event_at(
            s, since=NOW - timedelta(days=7), mark="Webhook check", now=NOW
        ),
    ),
    Hot(
        "events of the same stretch in earlier weeks",
        {"idx_webhook_event_received"},
        lambda s: health.count_slots(
            s,
            [(NOW - timedelta(minutes=2), NOW - timedelta(minutes=1))],
            slot=timedelta(minutes=10),
            mark="Webhook check",
        ),
    ),
    Hot(
        "events of deliveries that were given up",
        {"pk_webhook_event_key"},
        lambda s: health.held_events(s, ["EV5", "EV6"]),
    ),
]
