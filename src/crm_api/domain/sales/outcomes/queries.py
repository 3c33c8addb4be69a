"""Read outcomes together with the person of each outcome."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.sales.outcomes.errors import OutcomeNotFoundError
from crm_api.domain.sales.outcomes.models import OutcomeKind, OutcomeSource
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows


@dataclass(frozen=True, kw_only=True)
class FoundOutcome:
    """An outcome, with its person and its reversal.

    Attributes:
        contact_id: The id of the person's contact. If this contact was merged into another contact,
            the id of the other contact. None if the person has no contact.
        phone: The phone number of the person; None after an erasure, and for a deleted contact.
        reversed_by_id: The id of the reversal of this outcome; None if it was not reversed.
        first_name: The contact's first name; None without a contact or a first name.
        last_name: The contact's last name; None without a contact or a last name.
    """

    id: UUID
    kind: str
    name: str | None
    amount_cents: int | None
    currency: str
    occurred_at: datetime
    source: str
    property_id: UUID | None
    reverses_id: UUID | None
    reversed_by_id: UUID | None
    recorded_by: str
    created_at: datetime
    contact_id: UUID | None
    phone: str | None
    external_id: str | None
    first_name: str | None
    last_name: str | None


@dataclass(frozen=True, kw_only=True)
class OutcomeFilter:
    """Which outcomes a list contains. A field that is None does not filter.

    Attributes:
        contact_id: The id of the contact, or of a duplicate that was merged into it.
        is_reversed: True: only reversed outcomes and their reversals. False: neither reversed
            outcomes nor reversals. Statistics count only the outcomes that are left.
        occurred_before: Only outcomes before this instant.
        occurred_after: Only outcomes at or after this instant.
    """

    kind: OutcomeKind | None = None
    source: OutcomeSource | None = None
    contact_id: UUID | None = None
    is_reversed: bool | None = None
    occurred_after: datetime | None = None
    occurred_before: datetime | None = None


_OUTCOMES = """
    SELECT o.id, o.kind, o.name, o.amount_cents, o.currency, o.occurred_at, o.source,
           o.property_id, o.reverses_id, r.id AS reversed_by_id, o.recorded_by, o.created_at,
           c.id AS contact_id, coalesce(s.phone, c.phone) AS phone, s.external_id,
           c.first_name, c.last_name
    FROM outcome o
    LEFT JOIN outcome r ON r.reverses_id = o.id
    LEFT JOIN outcome_subject s ON s.outcome_id = coalesce(o.reverses_id, o.id)
    LEFT JOIN contact d ON d.id = s.contact_id
    LEFT JOIN contact c ON c.id = coalesce(d.merged_into, d.id) AND c.deleted_at IS NULL
"""
ONE_OUTCOME = text(f"{_OUTCOMES} WHERE o.id = :outcome_id")


async def read_outcome(uow: UnitOfWork, *, outcome_id: UUID) -> FoundOutcome:
    """Return the outcome with this id.

    Raises:
        OutcomeNotFoundError: No outcome has this id.
    """
    row = (await uow.session.execute(ONE_OUTCOME, {"outcome_id": outcome_id})).one_or_none()
    if row is None:
        raise OutcomeNotFoundError
    return typed_row(FoundOutcome, row)


_CONDITIONS = {
    "kind": "o.kind = :kind",
    "source": "o.source = :source",
    "contact_id": """coalesce(o.reverses_id, o.id) IN (
        SELECT t.outcome_id FROM outcome_subject t WHERE t.contact_id IN (
            SELECT p.id FROM contact p WHERE p.id = :contact_id
            UNION ALL SELECT p.id FROM contact p WHERE p.merged_into = :contact_id
            UNION ALL SELECT p.merged_into FROM contact p WHERE p.id = :contact_id
            UNION ALL SELECT q.id FROM contact p JOIN contact q ON q.merged_into = p.merged_into
                      WHERE p.id = :contact_id))""",
    "is_reversed": "(o.reverses_id IS NOT NULL OR r.id IS NOT NULL) = :is_reversed",
    "occurred_after": "o.occurred_at >= :occurred_after",
    "occurred_before": "o.occurred_at < :occurred_before",
}


def outcomes_statement(
    wanted: OutcomeFilter, *, after: tuple[datetime, UUID] | None, limit: int
) -> tuple[TextClause, dict[str, Any]]:
    """Return the statement that reads one page of outcomes, and the values of its parameters."""
    values = {name: value for name, value in vars(wanted).items() if value is not None}
    conditions = [_CONDITIONS[name] for name in values]
    if after is not None:
        conditions.append("(o.occurred_at, o.id) < (:after_at, :after_id)")
        values |= {"after_at": after[0], "after_id": after[1]}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"{_OUTCOMES} {where} ORDER BY o.occurred_at DESC, o.id DESC LIMIT :limit"
    return text(statement), values | {"limit": limit}


async def list_outcomes(
    session: AsyncSession, wanted: OutcomeFilter, *, cursor: str | None, limit: int
) -> Page[FoundOutcome]:
    """Return a page of outcomes and reversals, the latest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("outcomes", wanted=wanted)
    statement, values = outcomes_statement(wanted, after=cursors.read(cursor), limit=limit + 1)
    rows = typed_rows(FoundOutcome, await session.execute(statement, values))
    return cursors.page(rows, limit=limit, position=lambda one: (one.occurred_at, one.id))
