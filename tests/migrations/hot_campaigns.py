"""Queries on campaigns and for the operation of the service that must use an index."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES
from tests.migrations.filling import FINISHED, LINE, LIST, OTHER_LIST, RUNNING, WAITING, made_id
from tests.migrations.hot import CONTACT, PLACE, Hot, hot_read, sql, use_case
from tests.migrations.support import Call

from crm_api.domain.alerts import alert_mail
from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import AlertStatus
from crm_api.domain.campaigns import lifecycle
from crm_api.domain.campaigns.audience import storage
from crm_api.domain.campaigns.audience.selection import EXCLUSIONS, AudienceConditions
from crm_api.domain.campaigns.campaign_detail import list_variants
from crm_api.domain.campaigns.campaign_list import (
    CampaignFilter,
    CampaignSort,
    campaigns_statement,
    current_campaigns_statement,
)
from crm_api.domain.campaigns.drafts import start_checks
from crm_api.domain.campaigns.drafts.occurrences import due_series_statement
from crm_api.domain.campaigns.figures import automatic_pause, campaign_stats, live_counts
from crm_api.domain.campaigns.figures.campaign_stats import TEMPLATE_COUNTS
from crm_api.domain.campaigns.forecast import line_load
from crm_api.domain.campaigns.forecast import recipients as forecast_recipients
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.campaigns.recipients import review
from crm_api.domain.campaigns.recipients.listing import RecipientFilter, RecipientSearch
from crm_api.domain.campaigns.templates import service as templates
from crm_api.domain.campaigns.templates.versions import versions_statement
from crm_api.domain.identity.api_keys import authentication
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, SkipReason
from crm_api.domain.monitoring.daily_digest import digest
from crm_api.domain.monitoring.system_metrics import figures
from crm_api.domain.outbound.live_events import event_log
from crm_api.domain.outbound.live_events.event_log import LogPosition

AUDIENCE = {
    "list_id": LIST,
    "contact_ids": [],
    "exclude_list_ids": [],
    "exclude_contact_ids": [],
    "exclude_campaign_ids": [],
    "previously_contacted": "skip",
    "skip_landlines": True,
    "shut": [],
    "as_of": NOW,
}

OF_A_CAMPAIGN = (
    "idx_campaign_membership_campaign",
    "uq_campaign_membership_campaign_id_step_contact_id",
    "uq_campaign_membership_campaign_id_step_phone",
)
"""Indexes that each find all recipients of a campaign."""


def _list_alerts(status: AlertStatus | None = None) -> Call:
    cursor = Cursors("alerts", status=status, kind=None).write(*PLACE)
    return use_case(lambda uow: alerts.list_alerts(uow, status=status, cursor=cursor, limit=50))


def _recipients(**wanted: Any) -> RecipientSearch:
    return RecipientSearch.of(RecipientFilter(**wanted), campaign_id=RUNNING, variant_names=["A"])


CAMPAIGNS = [
    Hot(
        "campaigns, newest first",
        {"idx_campaign_created"},
        lambda s: s.execute(
            campaigns_statement(CampaignFilter(), sort=CampaignSort.NEWEST, after=PLACE, limit=51)
        ),
    ),
    Hot(
        "campaigns of the first screen",
        {"idx_campaign_current"},
        lambda s: s.execute(current_campaigns_statement(20)),
    ),
    Hot(
        "message templates, newest first",
        {"idx_message_template_created"},
        use_case(
            lambda u: templates.list_templates(
                u, cursor=Cursors("templates").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "campaigns that may send now",
        {"idx_campaign_active", "uq_campaign_variant_campaign_id_position"},
        sql(planning.RUNNING_CAMPAIGNS, now=NOW),
        is_generic=True,
    ),
    Hot(
        "what lines and their campaigns have sent today, for the plan",
        {"idx_send_tally_line"},
        sql(planning.ACCEPTED_TODAY, line_ids=[LINE], now=NOW),
        is_generic=True,
    ),
    Hot(
        "campaigns with a due recipient",
        {"idx_campaign_membership_status"},
        sql(
            planning.CAMPAIGNS_WITH_DUE,
            campaign_ids=[RUNNING, FINISHED],
            zone_keys=["MA/zone0", "MA/zone1"],
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "campaigns that are due to start",
        {"idx_campaign_active"},
        sql(lifecycle.BEGIN_DUE, now=NOW),
        is_generic=True,
    ),
    Hot(
        "campaigns whose start was missed",
        {"idx_campaign_active"},
        sql(lifecycle.MISSED_STARTS, now=NOW),
        is_generic=True,
    ),
    Hot(
        "campaigns whose recipients must be stored",
        {"idx_campaign_active"},
        lambda s: s.execute(storage.unstored_audiences_statement(only_new=False)),
    ),
    Hot(
        "campaigns that are finished",
        {"idx_campaign_active", "idx_campaign_membership_campaign"},
        sql(lifecycle.COMPLETE_FINISHED, now=NOW),
        is_generic=True,
    ),
    Hot(
        "waiting recipients of campaigns that have ended",
        {
            "idx_campaign_active",
            "idx_campaign_cancelled",
            "idx_campaign_membership_campaign|idx_campaign_membership_status",
        },
        lambda s: lifecycle.end_overdue(s, limit=20_000, now=NOW),
        is_generic=True,
    ),
    Hot(
        "contacts of the audience who were messaged before",
        {"idx_campaign_membership_phone", "idx_activity_contact"},
        sql(start_checks.reachable_zone_statement(AudienceConditions()), **AUDIENCE),
        # The list has 500 of 20,000 people. For such a large share, reading the whole table is
        # fast.
        whole=frozenset({"contact"}),
    ),
    Hot(
        "the audience, without the recipients of a finished campaign",
        {
            "idx_campaign_membership_phone",
            "uq_campaign_membership_campaign_id_step_contact_id|idx_campaign_membership_campaign",
        },
        sql(
            start_checks.reachable_zone_statement(
                AudienceConditions(exclusions=("exclude_campaign_ids",))
            ),
            **AUDIENCE | {"exclude_campaign_ids": [FINISHED]},
        ),
        whole=frozenset({"contact"}),
    ),
    Hot(
        "the next chunk of an audience, stored",
        {
            "pk_contact_list_member",
            "pk_contact",
            "uq_contact_flag_phone_flag_type",
            "pk_phone_lookup",
            "uq_campaign_membership_campaign_id_step_contact_id|idx_campaign_membership_campaign",
            "idx_campaign_membership_phone",
            "idx_activity_contact",
        },
        sql(
            storage.insert_chunk_statement(AudienceConditions(exclusions=tuple(EXCLUSIONS))),
            **AUDIENCE
            | {
                "exclude_list_ids": [OTHER_LIST],
                "exclude_campaign_ids": [FINISHED],
                "campaign_id": WAITING,
                "thresholds": [],
                "known_variant": 1,
                "after": CONTACT,
                "limit": 100,
                "now": NOW,
            },
        ),
    ),
    Hot(
        "recipients in review, decided",
        {"idx_campaign_membership_campaign"},
        lambda s: review.store_decisions(
            s, campaign_id=RUNNING, decision="approve", contact_ids=None, now=NOW
        ),
    ),
    Hot(
        "one recipient in review, decided",
        {"uq_campaign_membership_campaign_id_step_contact_id|idx_campaign_membership_campaign"},
        lambda s: review.store_decisions(
            s, campaign_id=RUNNING, decision="reject", contact_ids=[CONTACT], now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "number of recipients in review",
        {"idx_campaign_tally_campaign"},
        lambda s: review.count_in_review(s, campaign_id=RUNNING),
    ),
    Hot(
        "figures of a campaign",
        {
            "idx_campaign_tally_campaign",
            "idx_send_attempt_uncertain",
        },
        sql(campaign_stats.RECIPIENT_COUNTS, campaign_id=FINISHED, line_id=LINE, step=0),
    ),
    Hot(
        "rates of running campaigns",
        {
            "idx_campaign_active",
            "idx_campaign_tally_campaign",
            "uq_campaign_variant_campaign_id_position",
        },
        sql(automatic_pause.WATCHED_CAMPAIGNS),
        is_generic=True,
    ),
    Hot(
        "the rows that a campaign's rates count",
        {"idx_campaign_tally_campaign"},
        sql(automatic_pause.RATE_SUMS, campaign_id=RUNNING),
    ),
    Hot(
        "whether failures and opt-outs are of messages from before a resume",
        {
            "|".join(OF_A_CAMPAIGN),
            "idx_send_attempt_membership",
        },
        sql(automatic_pause.ANSWERED_SINCE, campaign_id=FINISHED, since=NOW),
    ),
    Hot(
        "recipients of a campaign, by step, for a forecast",
        {"idx_campaign_tally_campaign"},
        lambda s: forecast_recipients.count_by_step(s, campaign_id=RUNNING),
    ),
    Hot(
        "waiting recipients by zone key, for a forecast",
        {"idx_campaign_membership_status"},
        lambda s: forecast_recipients.count_groups(
            s, campaign_id=RUNNING, zone_keys=["MA/zone0", "MA/zone1"], most=20, now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "a sample of waiting recipients, for a forecast",
        set(),
        lambda s: forecast_recipients.sample_groups(s, campaign_id=RUNNING, now=NOW),
        is_generic=True,
    ),
    Hot(
        "other campaigns on a line, for a forecast",
        {"idx_campaign_active", "idx_campaign_tally_campaign"},
        lambda s: line_load.list_rivals(s, line_id=LINE, campaign_id=RUNNING, now=NOW),
        is_generic=True,
    ),
    Hot(
        "recent messages of a line, for a forecast",
        {"idx_send_attempt_accepted"},
        lambda s: line_load.count_lately(
            s, line_id=LINE, timezone="America/New_York", since=NOW - timedelta(days=14)
        ),
        is_generic=True,
    ),
    Hot(
        "recent unclear attempts, for a forecast",
        {"idx_send_attempt_uncertain"},
        lambda s: line_load.count_uncertain(s, line_id=LINE, since=NOW - timedelta(days=14)),
        is_generic=True,
    ),
    Hot(
        "recipients of a campaign",
        {"uq_campaign_membership_campaign_id_step_contact_id"},
        lambda s: s.execute(_recipients().page(after=CONTACT, limit=51)),
    ),
    Hot(
        "recipients of one status",
        {"idx_campaign_membership_campaign"},
        lambda s: s.execute(
            _recipients(status=MembershipStatus.FAILED).page(after=CONTACT, limit=51)
        ),
    ),
    Hot(
        "recipients of a variant",
        {"uq_campaign_membership_campaign_id_step_contact_id"},
        lambda s: s.execute(_recipients(variant="A").page(after=CONTACT, limit=51)),
    ),
    Hot(
        "recipients who replied",
        {"idx_campaign_membership_answered"},
        lambda s: s.execute(_recipients(replied=True).page(after=CONTACT, limit=51)),
    ),
    Hot(
        "recipients who opted out",
        {"idx_campaign_membership_answered"},
        lambda s: s.execute(_recipients(opted_out=True).page(after=CONTACT, limit=51)),
    ),
    Hot(
        "recipients skipped for a reason",
        {"idx_campaign_membership_skipped"},
        lambda s: s.execute(
            _recipients(skip_reason=SkipReason.OPTED_OUT).page(after=CONTACT, limit=51)
        ),
    ),
    Hot(
        "recipients with a failure",
        {"idx_campaign_membership_error"},
        lambda s: s.execute(
            _recipients(error_code="provider_refused").page(after=CONTACT, limit=51)
        ),
    ),
    Hot(
        "recipients that a user must settle",
        {"idx_campaign_membership_campaign", "idx_send_attempt_membership"},
        lambda s: s.execute(_recipients(parked=True).page(after=CONTACT, limit=51)),
    ),
    Hot(
        "recipients by a common word",
        {"uq_campaign_membership_campaign_id_step_contact_id"},
        lambda s: s.execute(_recipients(q="Rossi12").page(after=CONTACT, limit=51)),
    ),
    Hot(
        "recipients by a rare word",
        {"uq_campaign_membership_campaign_id_step_contact_id", "idx_contact_search"},
        lambda s: s.execute(_recipients(q="Rossi12").look_up(after=CONTACT, limit=51)),
    ),
    Hot(
        "series whose next occurrence must be drafted",
        {"idx_campaign_next_occurrence"},
        lambda s: s.execute(due_series_statement(now=NOW)),
    ),
    Hot(
        "versions of a page of templates",
        {"pk_template_version"},
        lambda s: s.execute(versions_statement([made_id("template", i) for i in range(1, 51)])),
    ),
    Hot(
        "variants that were copied from a template",
        {"idx_campaign_variant_template", "idx_campaign_tally_campaign"},
        sql(TEMPLATE_COUNTS, template_id=made_id("template", 1), key=str(made_id("template", 1))),
    ),
    Hot(
        "variants of a page of campaigns",
        {"uq_campaign_variant_campaign_id_position"},
        lambda s: list_variants(s, campaign_ids=[made_id("campaign", i) for i in range(1, 51)]),
    ),
]

OPERATIONS = [
    Hot(
        "lines, newest first",
        {"idx_line_created"},
        use_case(
            lambda uow: lines.list_lines(
                uow, cursor=Cursors("lines").write(*PLACE), limit=50, times=TIMES, now=NOW
            )
        ),
    ),
    Hot(
        "the line of an event",
        {"uq_line_phone_number_id"},
        use_case(lambda uow: lines.find_line_by_provider_id(uow, phone_number_id="PN7")),
        is_generic=True,
    ),
    Hot(
        "the line with a number",
        {"idx_line_number"},
        use_case(lambda uow: lines.find_line_by_number(uow, numbers=["+16175550007"])),
    ),
    Hot(
        "alerts, last seen first",
        {"idx_alert_last_seen"},
        _list_alerts(),
    ),
    Hot(
        "open alerts, last seen first",
        {"idx_alert_open"},
        _list_alerts(AlertStatus.OPEN),
    ),
    Hot(
        "alerts that were not seen lately",
        {"idx_alert_open|uq_alert_kind_subject"},
        use_case(lambda uow: alerts.resolve_silent_alerts(uow, now=NOW)),
    ),
    Hot(
        "when the last mail was sent, for the next one",
        {"idx_alert_notice_told"},
        sql(
            alert_mail.CLAIM,
            channel="mail",
            quiet=3600.0,
            quiet_after_over=600.0,
            escalate_after=14_400.0,
            gap=55.0,
            leaves_out=["mail_down"],
            limit=1000,
            until=NOW,
            now=NOW,
        ),
    ),
    Hot(
        "an open alert",
        {"uq_alert_kind_subject"},
        use_case(
            lambda uow: alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject="5", now=NOW)
        ),
    ),
    Hot(
        "the key of a request",
        {"uq_api_key_key_hash"},
        hot_read(authentication.FIND_API_KEYS, sha256(b"key5").digest()),
        is_generic=True,
    ),
    Hot(
        "keys, newest first",
        {"idx_api_key_created"},
        use_case(
            lambda uow: access.list_api_keys(
                uow, status=None, now=NOW, cursor=Cursors("api_keys").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "the key that a rotation created",
        {"uq_api_key_replaces_id"},
        lambda s: s.execute(access.successor_statement(CONTACT)),
    ),
    Hot(
        "waiting work, for the metrics",
        {"idx_webhook_event_processed", "idx_webhook_event_status", "idx_activity_queued"},
        sql(figures.WAITING, most=100_000),
    ),
    Hot(
        "the campaign message that waits longest, for the metrics",
        {"idx_campaign_membership_status"},
        sql(figures.CAMPAIGN_DUE_AT),
    ),
    Hot(
        "unclear attempts, for the metrics",
        {"idx_send_attempt_open", "idx_send_attempt_uncertain"},
        sql(figures.UNCLEAR),
    ),
    Hot(
        "the delivery that waits longest, for the metrics",
        {"idx_webhook_delivery_due"},
        sql(figures.ENDPOINTS),
    ),
    Hot(
        "open alerts by kind, for the metrics",
        {"idx_alert_open"},
        sql(figures.ALERTS),
    ),
    Hot(
        "events since a position in the log",
        {"pk_event"},
        use_case(lambda uow: event_log.read_new_events(uow, after=LogPosition(1, 1))),
    ),
    Hot(
        "events between two positions in the log",
        {"pk_event"},
        use_case(
            lambda uow: event_log.read_event_span(
                uow, after=LogPosition(1, 1), until=LogPosition(10**9, 1)
            )
        ),
    ),
    Hot(
        "the oldest events, deleted",
        {"pk_event", "pk_event_horizon"},
        sql(event_log.FORGET, before=NOW, limit=100),
    ),
    Hot(
        "the counts of campaigns that are watched live",
        {"idx_campaign_tally_campaign"},
        lambda s: s.execute(live_counts.COUNTERS, {"campaign_ids": [RUNNING, FINISHED]}),
    ),
    Hot(
        "the messages and replies of a day, for the daily report",
        {"idx_send_attempt_accepted"},
        sql(digest.TEXTS, since=NOW - timedelta(days=1), until=NOW),
    ),
    Hot(
        "the opt-outs of a day, for the daily report",
        {"idx_contact_flag_type_phone"},
        sql(digest.OPT_OUTS, since=NOW - timedelta(days=1), until=NOW),
    ),
    Hot(
        "people who wait for a decision, for the daily report",
        {"idx_contact_flag_type_phone"},
        sql(digest.WAITING_PEOPLE, now=NOW),
    ),
]
