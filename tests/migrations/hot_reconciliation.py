"""Queries of the reconciliation that must use an index."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import PLACE, Hot, sql, use_case

from crm_api.domain.inbound.reconciliation import comparison, pace, run_progress, runs
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.conversations import participants

IDS = [f"AC{position}" for position in range(101, 2_101)]

RECONCILIATION = [
    Hot(
        "runs of the reconciliation, newest first",
        {"idx_reconciliation_run_created"},
        use_case(
            lambda uow: runs.list_runs(
                uow, cursor=Cursors("reconciliation_runs").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "the newest run of the reconciliation",
        {"idx_reconciliation_run_created"},
        use_case(runs.newest_made_at),
    ),
    Hot(
        "the next run of the reconciliation",
        {"idx_reconciliation_run_open"},
        sql(run_progress.CLAIM_RUN, token=made_id("any", 1), lease_until=NOW, now=NOW),
        is_generic=True,
    ),
    Hot(
        "a waiting run of the reconciliation",
        {"idx_reconciliation_run_open"},
        use_case(lambda uow: runs.make_run_after_outage(uow, began_at=NOW, now=NOW)),
    ),
    Hot(
        "whether received events wait during a run",
        {"idx_reconciliation_run_open", "idx_webhook_event_processed"},
        sql(runs.READ_BACKLOG),
    ),
    Hot(
        "when the first line was added",
        {"idx_line_created"},
        use_case(runs.oldest_line_at),
    ),
    Hot(
        "a gap that has ended",
        {"uq_alert_kind_subject"},
        sql(runs.ENDED_GAP, after=NOW, seconds=300.0),
    ),
    Hot(
        "the instant up to which everything is compared",
        {"idx_reconciliation_run_completed"},
        use_case(runs.covered_until),
    ),
    Hot(
        "when the receiver was last seen",
        {"pk_receiver_heartbeat"},
        sql(runs.STORE_HEARTBEAT, name="webhooks", now=NOW),
        is_generic=True,
    ),
    Hot(
        "a page of the provider's list, compared",
        {"pk_activity_key", "pk_activity"},
        sql(comparison.COMPARE_MESSAGES, ids=IDS[:500], ranks=[3] * 500),
        is_generic=True,
    ),
    Hot(
        "calls of the provider's list",
        {"pk_activity_key", "pk_activity"},
        sql(comparison.KNOWN_CALLS, ids=IDS[:20]),
    ),
    Hot(
        "messages of a period that are not listed",
        {"idx_activity_newest"},
        sql(
            comparison.ABSENT_IN_SPAN,
            lines=["PN1"],
            ids=IDS,
            after=NOW - timedelta(hours=24),
            until=NOW,
        ),
    ),
    Hot(
        "calls with a person that are not listed",
        {"uq_conversation_line_id_phone", "idx_activity_conversation"},
        sql(
            comparison.ABSENT_IN_THREADS,
            lines=["PN1"],
            phones=[phone_of(7)],
            kinds=["call"],
            ids=IDS[:20],
            after=NOW - timedelta(hours=24),
            until=NOW,
        ),
    ),
    Hot(
        "activities of a number from before it had a contact",
        {"uq_conversation_line_id_phone", "idx_activity_conversation"},
        lambda s: participants.adopt_activities(s, contacts={phone_of(7): made_id("contact", 7)}),
        is_generic=True,
    ),
    Hot(
        "whether messages wait",
        {"idx_campaign_active", "idx_activity_queued|idx_activity_queue"},
        sql(pace.MESSAGES_WAIT, now=NOW),
    ),
]
