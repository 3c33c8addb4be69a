"""Record an outcome once for each status of an appointment, a quote or an invoice.

The row of the appointment, quote or invoice stores the ids of its outcomes by status. The row is
locked, so that two concurrent requests do not record an outcome twice.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from crm_api.domain.people.deduplication.group import find_heads
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.outcomes.errors import OutcomeReversedError
from crm_api.domain.sales.outcomes.models import OutcomeKind, OutcomeSource
from crm_api.domain.sales.outcomes.queries import read_outcome
from crm_api.domain.sales.outcomes.record import NewOutcome, record_outcome, reverse_outcome
from crm_api.platform.database import UnitOfWork


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """The caller in whose name outcomes are recorded.

    Attributes:
        name: The name of the API key, or the e-mail address of the user.
        secret: The root secret (the first secret key of the service), for the hashes of external
            ids.
    """

    name: str
    source: OutcomeSource
    secret: bytes


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The appointment, quote or invoice whose outcomes are recorded.

    Its contact, property and amount are copied to the outcomes.

    Attributes:
        name: ``appointment``, ``quote`` or ``invoice``; the external ids begin with this name.
        known: The outcomes that are already recorded: maps each status to the id of its outcome.
    """

    name: str
    id: UUID
    contact_id: UUID
    property_id: UUID | None
    amount_cents: int | None
    known: Mapping[str, str]


async def lock_people(uow: UnitOfWork, contact_ids: Collection[UUID | None]) -> None:
    """Lock the contacts with these ids, in the order of their phone numbers.

    For a merged duplicate, the contact into which it was merged is locked. To prevent deadlocks,
    call this function before you lock an appointment, a quote or an invoice. Merges and erasures
    use the same order.
    """
    heads = await find_heads(uow.session, ids=[one for one in contact_ids if one is not None])
    if heads:
        statement = (
            select(Contact.id)
            .where(Contact.id.in_(set(heads.values())))
            .order_by(Contact.phone)
            .with_for_update(key_share=True)
        )
        await uow.session.execute(statement)


async def record_state(
    uow: UnitOfWork,
    subject: Subject,
    *,
    status: str,
    kind: OutcomeKind,
    occurred_at: datetime,
    recorder: Recorder,
    now: datetime,
) -> dict[str, str]:
    """Record an outcome because an appointment, a quote or an invoice has reached a status.

    If the subject already has an outcome for this status, and this outcome was not reversed,
    nothing is recorded.

    Args:
        subject: The appointment, quote or invoice.
        status: The status that it has reached.

    Returns:
        The ids of all outcomes of the subject, by status.

    Raises:
        ContactNotFoundError: The contact was deleted.
    """
    external_id = f"{subject.name}:{subject.id}:{status}"
    if status in subject.known:
        first = await read_outcome(uow, outcome_id=UUID(subject.known[status]))
        if first.reversed_by_id is None:
            return dict(subject.known)
        external_id += f":{first.reversed_by_id}"
    new = NewOutcome(
        kind=kind,
        occurred_at=occurred_at,
        source=recorder.source,
        contact_id=subject.contact_id,
        property_id=subject.property_id,
        amount_cents=subject.amount_cents,
        external_id=external_id,
    )
    done = await record_outcome(
        uow, new, recorded_by=recorder.name, secret=recorder.secret, now=now
    )
    return {**subject.known, status: str(done.outcome.id)}


async def correct_outcomes(
    uow: UnitOfWork,
    subject: Subject,
    *,
    occurred: Mapping[str, datetime],
    recorder: Recorder,
    now: datetime,
) -> dict[str, str]:
    """Replace the outcomes of an appointment, quote or invoice after its values have changed.

    Each outcome is reversed and recorded again, except outcomes that were already reversed.

    Args:
        subject: The appointment, quote or invoice with its new values.
        occurred: New times of outcomes, by status. The outcomes of all other statuses keep their
            times.

    Returns:
        The ids of all outcomes of the subject, by status.

    Raises:
        ContactNotFoundError: The contact was deleted.
    """
    known = dict(subject.known)
    for status, outcome_id in subject.known.items():
        first = await read_outcome(uow, outcome_id=UUID(outcome_id))
        if first.reversed_by_id is not None:
            continue
        new = NewOutcome(
            kind=OutcomeKind(first.kind),
            occurred_at=occurred.get(status, first.occurred_at),
            source=OutcomeSource(first.source),
            contact_id=subject.contact_id,
            property_id=subject.property_id,
            amount_cents=subject.amount_cents,
        )
        try:
            reversal = await reverse_outcome(
                uow, outcome_id=first.id, recorded_by=recorder.name, now=now
            )
        except OutcomeReversedError:
            continue
        again = replace(new, external_id=f"{subject.name}:{subject.id}:{status}:{reversal.id}")
        done = await record_outcome(
            uow, again, recorded_by=recorder.name, secret=recorder.secret, now=now
        )
        known[status] = str(done.outcome.id)
    return known
