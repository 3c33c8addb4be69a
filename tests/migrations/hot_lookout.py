"""What is looked at each minute, to see what is wrong."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import NOON, RUNNING
from tests.migrations.hot import Hot, sql

from crm_api.domain.campaigns import standstill_statements
from crm_api.domain.lookout import statements

LOOKOUT = [
    Hot(
        "a campaign of which nothing leaves",
        {"idx_campaign_membership_status"},
        sql(
            standstill_statements.STANDSTILL,
            campaign_ids=[RUNNING, RUNNING],
            zone_keys=["MA/zone1", "MA/zone2"],
            before=NOON,
        ),
    ),
    Hot(
        "sends that are unclear for long",
        {"idx_send_attempt_open|uq_send_attempt_open_phone"},
        sql(statements.UNCLEAR_FOR_LONG, before=NOON),
    ),
    Hot(
        "replies that wait for long",
        {"idx_activity_queued"},
        sql(statements.WAITS_FOR_LONG, before=NOON),
    ),
    Hot(
        "the event that waits longest, for an alert",
        {"idx_webhook_event_processed"},
        sql(statements.EVENT_DUE_AT),
    ),
    Hot("the last event", {"idx_webhook_event_received"}, sql(statements.LAST_EVENT_AT)),
    Hot(
        "texts that were accepted and of which no event tells",
        {"idx_send_attempt_accepted"},
        sql(statements.ACCEPTED_BETWEEN, since=NOW - timedelta(hours=3), until=NOON),
    ),
]
