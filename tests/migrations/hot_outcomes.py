"""Queries on the ledger of outcomes."""

from datetime import timedelta

from sqlalchemy import text
from tests.migrations.filling import NOON, made_id, phone_of
from tests.migrations.hot import CONTACT, PLACE, Hot

from crm_api.domain.insight.attribution import runs, touches
from crm_api.domain.insight.costs.service import costs_statement
from crm_api.domain.insight.holdouts.service import holdouts_statement
from crm_api.domain.people.erasure.removal import ERASE_OUTCOMES
from crm_api.domain.sales.outcomes.queries import ONE_OUTCOME, OutcomeFilter, outcomes_statement


def _page(name: str, indexes: set[str], wanted: OutcomeFilter) -> Hot:
    statement, values = outcomes_statement(wanted, after=PLACE, limit=51)
    return Hot(name, indexes, lambda s: s.execute(statement, values))


OUTCOMES = [
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
        lambda s: s.execute(holdouts_statement(after=PLACE, limit=51)),
    ),
    Hot(
        "costs, the latest first",
        {"idx_cost_entry_incurred"},
        lambda s: s.execute(costs_statement(after=PLACE, limit=51)),
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
