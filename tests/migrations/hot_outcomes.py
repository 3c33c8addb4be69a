"""Queries on the ledger of outcomes."""

from sqlalchemy import text
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import CONTACT, PLACE, Hot

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
]
