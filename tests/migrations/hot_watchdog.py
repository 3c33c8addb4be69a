"""Queries that the watchdog runs each minute, and that must use an index."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import NOON, RUNNING
from tests.migrations.hot import Hot, sql

from crm_api.domain.campaigns.explain import service as explaining
from crm_api.domain.monitoring.watchdog import sends, system

WATCHDOG = [
    Hot(
        "a campaign that sends no messages",
        {"idx_campaign_membership_status"},
        sql(
            explaining.STANDSTILLS,
            campaign_ids=[RUNNING, RUNNING],
            zone_keys=["MA/zone1", "MA/zone2"],
            before=NOON,
        ),
    ),
    Hot(
        "attempts that have been unclear for long",
        {"idx_send_attempt_open|uq_send_attempt_open_phone"},
        sql(sends.UNCLEAR_FOR_LONG, before=NOON),
    ),
    Hot(
        "replies that have waited for long",
        {"idx_activity_queued|idx_activity_queue"},
        sql(sends.WAITS_FOR_LONG, before=NOON),
    ),
    Hot(
        "the event that waits longest, for an alert",
        {"idx_webhook_event_processed"},
        sql(system.EVENT_DUE_AT),
    ),
    Hot("the last event", {"idx_webhook_event_received"}, sql(sends.LAST_EVENT_AT)),
    Hot(
        "accepted messages without an event",
        {"idx_send_attempt_accepted"},
        sql(sends.ACCEPTED_BETWEEN, since=NOW - timedelta(hours=3), until=NOON),
    ),
]
