"""SQL queries for measures of outcomes.

One query selects outcomes. The other selects credits: a credit is the share of an outcome that a
message earned, or the remainder that no message earned.
"""

from crm_api.domain.insight.measures.bases import Base, Stored
from crm_api.domain.insight.measures.dimensions import PLACES

SHARE = "round(k.numerator::numeric / k.denominator, 6)"
# Reversed outcomes and reversals are left out.
_COUNTED = """o.reverses_id IS NULL
          AND NOT EXISTS (
              SELECT FROM outcome r WHERE r.reverses_id = o.id AND r.reverses_id IS NOT NULL)
          $period(o.occurred_at)$"""
# `OFFSET 0` forces one look-up for each outcome, whatever the statistics say.
_CHANGED = """(SELECT DISTINCT c.outcome_id FROM insight_outcome_change c) h
        CROSS JOIN LATERAL (SELECT o.* FROM outcome o WHERE o.id = h.outcome_id OFFSET 0) o"""
_CURRENT = """(st.id IN (SELECT c.outcome_id FROM insight_outcome_change c)) IS NOT TRUE
               $period(st.at)$"""


def outcomes(kind: str) -> Base:
    """Return the base (the query) that selects the outcomes of one kind."""

    def select(source: str) -> str:
        return f"""
        SELECT o.id, 'outcome' AS kind, o.occurred_at AS at, true AS counted,
               CAST(o.amount_cents AS numeric) AS amount, o.occurred_at AS ripe_at,
               CAST(NULL AS uuid) AS campaign_id, CAST(NULL AS smallint) AS variant,
               CAST(NULL AS smallint) AS step, s.contact_id, o.source, o.id AS outcome_id,
               CAST(NULL AS uuid) AS list_id
        FROM {source} LEFT JOIN outcome_subject s ON s.outcome_id = o.id
        WHERE o.kind = '{kind}' AND {_COUNTED}
        """

    stored = Stored(
        source="insight_outcome st",
        columns=f"st.id, {_stored('outcome', 'st.amount_cents')}",
        current=f"st.kind = '{kind}' AND {_CURRENT}",
        rest=select(_CHANGED),
        breakdowns=PLACES,
    )
    return Base(sql=select("outcome o"), has_campaign=False, stored=stored)


def credits_of(kind: str, *, amount: str, among: str = "true") -> Base:
    """Return the base (the query) that selects the credits of the outcomes of one kind.

    A credit is the share of an outcome that a message earned, or the remainder.

    Args:
        kind: The kind of the outcomes.
        amount: The SQL expression for the column ``amount``: the cents or the share of a credit.
        among: The SQL condition for the credits to select.
    """

    def select(source: str) -> str:
        return f"""
        SELECT k.id, 'credit' AS kind, o.occurred_at AS at, true AS counted,
               CAST({amount} AS numeric) AS amount, o.occurred_at AS ripe_at, k.campaign_id,
               v.position AS variant, k.step, s.contact_id, o.source, o.id AS outcome_id,
               CAST(NULL AS uuid) AS list_id
        FROM {source}
        JOIN outcome_credit k ON k.outcome_id = o.id AND k.rules_version = :rules_version
        LEFT JOIN outcome_subject s ON s.outcome_id = o.id
        LEFT JOIN campaign_variant v ON v.campaign_id = k.campaign_id AND v.name = k.variant
        WHERE o.kind = '{kind}' AND {among} AND {_COUNTED}
        """

    stored = Stored(
        source="""insight_outcome st
        JOIN outcome_credit k ON k.outcome_id = st.id AND k.rules_version = :rules_version""",
        columns=f"k.id, {_stored('credit', amount)}",
        current=f"st.kind = '{kind}' AND {among} AND {_CURRENT}",
        rest=select(_CHANGED),
        breakdowns=PLACES,
    )
    return Base(sql=select("outcome o"), stored=stored)


def _stored(kind: str, amount: str) -> str:
    """Return the SQL of the columns of a stored outcome or of its credits, without the id."""
    return f"""'{kind}' AS kind, st.at, true AS counted, CAST({amount} AS numeric) AS amount,
               st.at AS ripe_at, CAST(NULL AS uuid) AS campaign_id,
               CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step, st.contact_id,
               st.source, st.id AS outcome_id, CAST(NULL AS uuid) AS list_id"""
