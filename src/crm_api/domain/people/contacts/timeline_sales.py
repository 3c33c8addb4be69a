"""The entries of a timeline about appointments, quotes, invoices and outcomes."""

from typing import Literal

from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.schemas import Instant, ReadModel


class TimelineAppointment(ReadModel):
    """An appointment with the contact; shown only to callers with the scope `sales:read`.

    Attributes:
        at: When the appointment begins.
        ends_at: When the appointment ends.
        kind: The purpose of the appointment: `assessment`, `repair` or `other`.
        status: `booked`, `held` (the appointment took place), `cancelled` or `no_show` (the person
            was not there).
    """

    model_config = example(id=example_id("appointment"), kind="assessment", status="booked")

    id: str
    type: Literal["appointment"]
    at: Instant
    ends_at: Instant
    kind: str
    status: str


class TimelineQuote(ReadModel):
    """A quote for the contact; shown only to callers with the scope `sales:read`.

    Attributes:
        at: When the quote got its present status.
        number: The quote's number in your accounting system.
        amount_cents: The amount in cents.
        currency: The currency of the amount.
        status: `draft`, `sent`, `approved` or `declined`.
    """

    model_config = example(id=example_id("quote"), number="Q-2041", status="approved")

    id: str
    type: Literal["quote"]
    at: Instant
    number: str
    amount_cents: int
    currency: str
    status: str


class TimelineInvoice(ReadModel):
    """An invoice for the contact; shown only to callers with the scope `sales:read`.

    Attributes:
        at: When the invoice got its present status.
        number: The invoice's number in your accounting system.
        amount_cents: The amount in cents.
        currency: The currency of the amount.
        status: `open`, `paid` or `void`.
    """

    model_config = example(id=example_id("invoice"), number="INV-1042", status="paid")

    id: str
    type: Literal["invoice"]
    at: Instant
    number: str
    amount_cents: int
    currency: str
    status: str


class TimelineOutcome(ReadModel):
    """A result of the work with the contact; shown only to callers with the scope `insight:read`.

    Attributes:
        at: When the outcome happened.
        kind: What happened, such as `job_done`.
        name: The name of an outcome of the kind `custom`; null for the other kinds.
        amount_cents: The amount in cents; null if there is none.
        currency: The currency of the amount.
        source: Who or what recorded the outcome: `person`, `import`, `calendar` or `api`.
        reversed: True if the outcome was reversed. Reports leave out reversed outcomes.
    """

    model_config = example(
        id=example_id("outcome"), kind="job_done", name=None, source="person", currency="USD"
    )

    id: str
    type: Literal["outcome"]
    at: Instant
    kind: str
    name: str | None
    amount_cents: int | None
    currency: str
    source: str
    reversed: bool


# A merge of contacts moves appointments, quotes and invoices to the primary contact. It does not
# change the rows of ``outcome_subject``, so outcomes are also found by the ids of the duplicates.
SALES_ENTRIES = """
        (SELECT p.id, p.id::text, 'appointment', p.starts_at,
                jsonb_build_object('ends_at', p.ends_at, 'kind', p.kind, 'status', p.status)
         FROM appointment p
         WHERE CAST(:with_sales AS boolean) AND p.contact_id = :contact_id
           AND (p.starts_at, p.id) < (:at, :key)
         ORDER BY p.starts_at DESC, p.id DESC LIMIT :limit)
        UNION ALL
        (SELECT q.id, q.id::text, 'quote', q.status_at,
                jsonb_build_object(
                    'number', q.number, 'amount_cents', q.amount_cents, 'currency', q.currency,
                    'status', q.status)
         FROM quote q
         WHERE CAST(:with_sales AS boolean) AND q.contact_id = :contact_id
           AND (q.status_at, q.id) < (:at, :key)
         ORDER BY q.status_at DESC, q.id DESC LIMIT :limit)
        UNION ALL
        (SELECT i.id, i.id::text, 'invoice', i.status_at,
                jsonb_build_object(
                    'number', i.number, 'amount_cents', i.amount_cents, 'currency', i.currency,
                    'status', i.status)
         FROM invoice i
         WHERE CAST(:with_sales AS boolean) AND i.contact_id = :contact_id
           AND (i.status_at, i.id) < (:at, :key)
         ORDER BY i.status_at DESC, i.id DESC LIMIT :limit)
        UNION ALL
        (SELECT o.id, o.id::text, 'outcome', o.occurred_at,
                jsonb_build_object(
                    'kind', o.kind, 'name', o.name, 'amount_cents', o.amount_cents,
                    'currency', o.currency, 'source', o.source,
                    'reversed', EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id))
         FROM (
             -- Find the person's outcomes first, because a person has only a few. OFFSET prevents a
             -- plan that reads the outcomes of all persons in the order of time.
             SELECT w.* FROM outcome w WHERE CAST(:with_outcomes AS boolean) AND w.id = ANY (ARRAY(
                 SELECT s.outcome_id FROM outcome_subject s WHERE s.contact_id = ANY (ARRAY(
                     SELECT CAST(:contact_id AS uuid)
                     UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = :contact_id))))
             OFFSET 0
         ) o
         WHERE (o.occurred_at, o.id) < (:at, :key)
         ORDER BY o.occurred_at DESC, o.id DESC LIMIT :limit)
"""
"""The four parts of the UNION in ``timeline.py`` that read sales data. All parts have the same
columns."""
