"""Queries on the ledger of outcomes that must use an index."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text
from tests.migrations.filling import NOON, made_id, phone_of
from tests.migrations.hot import CONTACT, PLACE, Hot, sql, use_case

from crm_api.domain.insight.attribution import runs, touches
from crm_api.domain.insight.costs import list_costs
from crm_api.domain.insight.funnel.funnel import count_funnel
from crm_api.domain.insight.funnel.people import PeopleFilter
from crm_api.domain.insight.holdouts.service import list_holdouts
from crm_api.domain.insight.measures import copy_records, update_sums
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import END, FigureRequest
from crm_api.domain.insight.measures.figures import compute_figures
from crm_api.domain.insight.measures.records import RecordRequest, list_records
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.people.erasure.removal import ERASE_OUTCOMES
from crm_api.domain.sales.outcomes.queries import ONE_OUTCOME, OutcomeFilter, outcomes_statement


def _page(name: str, indexes: set[str], wanted: OutcomeFilter) -> Hot:
    statement, values = outcomes_statement(wanted, after=PLACE, limit=51)
    return Hot(name, indexes, lambda s: s.execute(statement, values))


def _figure(name: str, indexes: set[str], measure: str, **wanted: Any) -> Hot:
    request = FigureRequest(measure=MEASURES[measure], **wanted)
    return Hot(name, indexes, lambda s: compute_figures(s, request, now=NOON))


def _rows(name: str, indexes: set[str], measure: str, **wanted: Any) -> Hot:
    request = FigureRequest(measure=MEASURES[measure], **wanted)
    return Hot(
        name,
        indexes,
        lambda s: list_records(s, RecordRequest(request=request), cursor=None, limit=50),
    )


# A copy of the statement of the trigger (``migrations/objects/forget_places.sql``).
FORGET = """
    UPDATE insight_{one} k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(CAST(:ids AS uuid[])) AND k.is_placed
"""
MONTH = PeopleFilter(since=NOON - timedelta(days=30), until=END)
OUTCOMES = [
    _figure(
        "a figure by days",
        {"idx_insight_tally_grain", "idx_campaign_membership_at"},
        "reply_rate",
        bucket=Bucket.DAY,
        since=NOON - timedelta(days=20),
    ),
    _figure(
        "a figure of a campaign",
        {"idx_insight_tally_campaign"},
        "messages",
        campaign_id=made_id("campaign", 7),
    ),
    _figure(
        "a figure by ZIP",
        {
            "uq_insight_person_tally",
            "idx_insight_person_tally_month",
            "idx_campaign_membership_at",
        },
        "reply_rate",
        by=Dimension.ZIP,
    ),
    _figure(
        "the time to an answer in a month",
        {"idx_insight_answer_at"},
        "time_to_answer",
        since=NOON - timedelta(days=30),
    ),
    Hot(
        "stored answers of changed conversations",
        {"idx_insight_answer_conversation"},
        lambda s: s.execute(
            copy_records.TAKE_ANSWER_CHANGES, {"since": NOON, "until": NOON, "most": 100}
        ),
    ),
    _figure(
        "the time to an answer by ZIP",
        {"idx_insight_answer_zip"},
        "time_to_answer",
        by=Dimension.ZIP,
    ),
    _figure(
        "the time to a reply by ZIP", {"idx_insight_reply_zip"}, "time_to_reply", by=Dimension.ZIP
    ),
    Hot(
        "replies that a job stores",
        {"idx_campaign_membership_reply_time", "pk_campaign_membership"},
        sql(
            copy_records.STORE_REPLIES,
            since=NOON - timedelta(hours=9),
            until=NOON,
            ids=[made_id("membership", 7)],
        ),
    ),
    *(
        Hot(
            f"stored records without a place: {one}",
            {f"idx_insight_{one}_unplaced", "pk_contact"},
            sql(statement, most=20),
        )
        for one, statement in zip(
            ("answer", "outcome", "reply"), copy_records.ADD_PLACES, strict=True
        )
    ),
    *(
        Hot(
            f"stored records of moved people: {one}",
            {f"idx_insight_{one}_contact"},
            sql(text(FORGET.format(one=one)), ids=[CONTACT]),
        )
        for one in ("answer", "outcome", "reply")
    ),
    Hot(
        "the funnel of a month",
        {"idx_campaign_membership_at", "idx_contact_merged_into"},
        lambda s: count_funnel(s, MONTH, window=timedelta(days=30), now=NOON),
    ),
    _figure("the time to a reply", {"idx_campaign_membership_reply_time"}, "time_to_reply"),
    _figure("the money of invoices", {"idx_outcome_kind"}, "revenue"),
    _figure(
        "the money of invoices by ZIP", {"idx_insight_outcome_zip"}, "revenue", by=Dimension.ZIP
    ),
    _figure(
        "the money of invoices by age of the property",
        {"idx_outcome_kind", "pk_contact"},
        "revenue",
        by=Dimension.YEAR_BUILT_BAND,
    ),
    _rows("the messages behind a figure", {"idx_campaign_membership_at"}, "messages"),
    Hot(
        "sums that wait to be merged",
        {"idx_insight_tally_fresh", "idx_insight_tally_campaign|idx_insight_tally_grain"},
        lambda s: s.execute(update_sums.MERGE, {"limit": 50}),
    ),
    _page(
        "all outcomes, the latest first",
        {"idx_outcome_occurred", "uq_outcome_reverses_id"},
        OutcomeFilter(),
    ),
    _page(
        "outcomes of a contact",
        {"idx_outcome_subject_contact"},
        OutcomeFilter(contact_id=CONTACT),
    ),
    Hot(
        "one outcome",
        {"uq_outcome_reverses_id"},
        lambda s: s.execute(ONE_OUTCOME, {"outcome_id": made_id("outcome", 49)}),
    ),
    Hot(
        "the outcome of an external id",
        {"uq_outcome_external_hash"},
        lambda s: s.execute(
            text("SELECT id FROM outcome WHERE external_hash = :hashed"), {"hashed": b"7" * 32}
        ),
    ),
    Hot(
        "outcomes of an erased person",
        {"idx_outcome_subject_contact", "idx_outcome_subject_phone"},
        lambda s: s.execute(
            ERASE_OUTCOMES,
            {"contact_id": CONTACT, "ids": [CONTACT], "phones": [phone_of(50020)]},
        ),
    ),
    Hot(
        "outcomes without credits",
        {"idx_outcome_created", "idx_outcome_credit_outcome"},
        lambda s: s.execute(
            runs.MISSING, {"since": NOON - timedelta(hours=30), "version": 1, "limit": 2001}
        ),
    ),
    Hot(
        "holdouts, the newest first",
        {"idx_holdout_created"},
        use_case(
            lambda uow: list_holdouts(
                uow, now=NOON, cursor=Cursors("holdouts").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "costs, the latest first",
        {"idx_cost_entry_incurred"},
        use_case(lambda uow: list_costs(uow, cursor=Cursors("costs").write(*PLACE), limit=50)),
    ),
    Hot(
        "the last computation of credits",
        {"idx_attribution_run_version"},
        lambda s: runs.last_run(s, version=1),
    ),
    Hot(
        "messages to the people of outcomes",
        {"idx_campaign_membership_phone", "idx_contact_merged_into", "idx_conversation_contact"},
        lambda s: s.execute(
            touches.SENT,
            {
                "ids": [made_id("outcome", i) for i in range(1, 40)],
                "as_of": NOON,
                "is_delivered": False,
                "called": [],
            },
        ),
    ),
]
