"""Queries of the reconciliation."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import PLACE, Hot

from crm_api.domain.activity import queries as activity
from crm_api.domain.reconciliation import queries
from crm_api.domain.reconciliation.models import Trigger

IDS = [f"AC{position}" for position in range(101, 2_101)]

RECONCILIATION = [
    Hot(
        "runs of the reconciliation, newest first",
        {"idx_reconciliation_run_created"},
        lambda s: queries.list_runs(s, after=PLACE, limit=51),
    ),
    Hot(
        "the newest run of the reconciliation",
        {"idx_reconciliation_run_created"},
        queries.newest_made_at,
    ),
    Hot(
        "the run of the reconciliation that is next",
        {"idx_reconciliation_run_open"},
        lambda s: queries.claim(s, token=made_id("any", 1), lease_until=NOW, now=NOW),
        is_generic=True,
    ),
    Hot(
        "a run of the reconciliation that waits",
        {"idx_reconciliation_run_open"},
        lambda s: queries.has_open(s, trigger=Trigger.OUTAGE),
    ),
    Hot(
        "whether received events wait, beside a run",
        {"idx_reconciliation_run_open", "idx_webhook_event_processed"},
        queries.backlog,
    ),
    Hot(
        "when the first line was added",
        {"idx_line_created"},
        queries.first_line_at,
    ),
    Hot(
        "a gap that has ended",
        {"uq_alert_kind_subject"},
        lambda s: queries.ended_gap(s, after=NOW, longer_than=timedelta(minutes=5)),
    ),
    Hot(
        "up to when all is compared",
        {"idx_reconciliation_run_completed"},
        queries.covered_until,
    ),
    Hot(
        "when the receiver was last seen",
        {"pk_receiver_heartbeat"},
        lambda s: queries.note_receiver(s, name="webhooks", now=NOW),
        is_generic=True,
    ),
    Hot(
        "a page of the provider's list, compared",
        {"pk_activity_key", "pk_activity"},
        lambda s: queries.compare(s, ids=IDS[:500], ranks=[3] * 500),
        is_generic=True,
    ),
    Hot(
        "calls of the provider's list",
        {"pk_activity_key", "pk_activity"},
        lambda s: queries.known_calls(s, ids=IDS[:20]),
    ),
    Hot(
        "texts of a span that are not listed",
        {"idx_activity_message"},
        lambda s: queries.absent_in_span(
            s, lines=["PN1"], ids=IDS, after=NOW - timedelta(hours=24), until=NOW
        ),
    ),
    Hot(
        "calls with a person that are not listed",
        {"uq_conversation_line_id_phone", "idx_activity_conversation"},
        lambda s: queries.absent_in_threads(
            s,
            threads=[("PN1", phone_of(7), "call")],
            ids=IDS[:20],
            after=NOW - timedelta(hours=24),
            until=NOW,
        ),
    ),
    Hot(
        "what was told of a number before it was a contact's",
        {"uq_conversation_line_id_phone", "idx_activity_conversation"},
        lambda s: activity.adopt(s, phone=phone_of(7), contact_id=made_id("contact", 7)),
        is_generic=True,
    ),
    Hot(
        "whether texts wait",
        {"idx_campaign_active", "idx_activity_queued"},
        lambda s: queries.texts_wait(s, now=NOW),
    ),
]
