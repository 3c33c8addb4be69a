"""Compute and store the credits of outcomes, and verify stored credits.

A credit is the share of an outcome that is credited to one message. A run computes all credits
again, and stores hashes by which they can be verified later.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.attribution.credits import Credit, RuleSet, divide_cents, divide_outcome
from crm_api.domain.insight.attribution.models import AttributionRun
from crm_api.domain.insight.attribution.rules import CreditsNotComputedError, find_rules
from crm_api.domain.insight.attribution.touches import CreditedOutcome, read_outcomes
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

CHUNK = 2_000
"""One statement reads the touches of at most this number of outcomes."""
AT_ONCE = 2_000
"""A request computes the missing credits of at most this number of outcomes. If credits of more
outcomes are missing, the request fails, and the job computes them."""
EVERY = timedelta(hours=24)
"""How often the job computes all credits again."""
OVERLAP = timedelta(minutes=10)
"""The longest time between the ``created_at`` of an outcome and its commit. A run may miss an
outcome that was created less than this long before the run. ``fill_credits`` finds such outcomes.
"""


@dataclass(frozen=True, kw_only=True)
class CreditRow:
    """The share of an outcome that is credited to one message, or to no message.

    Attributes:
        membership_id: The id of the recipient of the message; None if there is no message.
        numerator: The share is ``numerator`` / ``denominator``.
        cents: This share of the outcome's amount, in cents; None if the outcome has no amount.
    """

    outcome_id: UUID
    membership_id: UUID | None
    campaign_id: UUID | None
    variant: str | None
    step: int | None
    touch_class: str | None
    numerator: int
    denominator: int
    cents: int | None


def credit_rows(outcome: CreditedOutcome, rules: RuleSet) -> list[CreditRow]:
    """Divide an outcome and its amount among the messages that led to it.

    Each row has the share of one message. The shares of all rows sum to 1. If no message led to the
    outcome, the only row has the whole outcome and no message.
    """
    earned, unattributed = divide_outcome(outcome.occurred_at, outcome.touches, rules)
    shares = [one.weight for one in earned]
    parts: list[Credit | None] = [*earned]
    if unattributed:
        shares.append(unattributed)
        parts.append(None)
    cents: Sequence[int | None] = [None] * len(parts)
    if outcome.amount_cents is not None:
        cents = divide_cents(outcome.amount_cents, shares)
    return [
        _row(outcome.id, part, share, part_cents)
        for part, share, part_cents in zip(parts, shares, cents, strict=True)
    ]


def _row(outcome_id: UUID, credit: Credit | None, share: Fraction, cents: int | None) -> CreditRow:
    touch = None if credit is None else credit.touch
    return CreditRow(
        outcome_id=outcome_id,
        membership_id=None if touch is None else touch.membership_id,
        campaign_id=None if touch is None else touch.campaign_id,
        variant=None if touch is None else touch.variant,
        step=None if touch is None else touch.step,
        touch_class=None if touch is None else touch.touch_class.value,
        numerator=share.numerator,
        denominator=share.denominator,
        cents=cents,
    )


# Reversed outcomes, and the reversals themselves, get no credits. So they are left out.
COUNTED = text("""
    SELECT o.id FROM outcome o
    WHERE o.reverses_id IS NULL AND o.created_at <= :as_of AND o.id > :after
      AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id AND r.created_at <= :as_of)
    ORDER BY o.id LIMIT :limit
""")
NO_ID = UUID(int=0)


async def _next_ids(session: AsyncSession, *, after: UUID, as_of: datetime) -> list[UUID]:
    values = {"after": after, "as_of": as_of, "limit": CHUNK}
    return list(await session.scalars(COUNTED, values))


INSERT_CREDITS = text("""
    INSERT INTO outcome_credit (id, outcome_id, rules_version, run_id, membership_id, campaign_id,
        variant, step, touch_class, numerator, denominator, cents)
    SELECT x.id, x.outcome_id, :version, CAST(:run_id AS uuid), x.membership_id, x.campaign_id,
           x.variant, x.step, x.touch_class, x.numerator, x.denominator, x.cents
    FROM unnest(CAST(:ids AS uuid[]), CAST(:outcome_ids AS uuid[]),
                CAST(:membership_ids AS uuid[]), CAST(:campaign_ids AS uuid[]),
                CAST(:variants AS text[]), CAST(:steps AS smallint[]),
                CAST(:touch_classes AS text[]), CAST(:numerators AS bigint[]),
                CAST(:denominators AS bigint[]), CAST(:cents AS bigint[]))
        AS x (id, outcome_id, membership_id, campaign_id, variant, step, touch_class, numerator,
              denominator, cents)
""")


async def insert_credits(
    session: AsyncSession, rows: Sequence[CreditRow], *, version: int, run_id: UUID | None
) -> None:
    """Store computed shares of outcomes. Each share is credited to one message, or to no message.

    Args:
        version: The version of the attribution rules by which the shares were computed.
        run_id: The run that computed the shares; None if they were computed between two runs.
    """
    values: dict[str, Any] = {
        "version": version,
        "run_id": run_id,
        "ids": [new_id() for _ in rows],
        "outcome_ids": [row.outcome_id for row in rows],
        "membership_ids": [row.membership_id for row in rows],
        "campaign_ids": [row.campaign_id for row in rows],
        "variants": [row.variant for row in rows],
        "steps": [row.step for row in rows],
        "touch_classes": [row.touch_class for row in rows],
        "numerators": [row.numerator for row in rows],
        "denominators": [row.denominator for row in rows],
        "cents": [row.cents for row in rows],
    }
    await session.execute(INSERT_CREDITS, values)


# Because of this lock, only one transaction at a time writes the credits of a version of the rules.
LOCK = text("SELECT pg_advisory_xact_lock(hashtext('outcome_credit'), :version)")
DELETE_CREDITS = text("DELETE FROM outcome_credit WHERE rules_version = :version")


@dataclass(frozen=True, kw_only=True)
class CreditHashes:
    """The hashes of one computation of all credits, and the number of its outcomes.

    Attributes:
        outcomes: The number of outcomes that the computation read.
        inputs: The SHA-256 of the rules, the outcomes, and the touches of each outcome.
        result: The SHA-256 of the credits.
    """

    outcomes: int
    inputs: bytes
    result: bytes


StoreCredits = Callable[[Sequence[CreditRow]], Awaitable[None]]
"""A function that receives the computed credits of a chunk."""
Progress = Callable[[int], None]
"""A function that is called after each chunk, with the number of outcomes that are processed so
far."""


async def compute_all_credits(
    session: AsyncSession,
    rules: RuleSet,
    *,
    as_of: datetime,
    store: StoreCredits | None = None,
    progress: Progress | None = None,
) -> CreditHashes:
    """Compute the credits of all outcomes, in chunks to save memory.

    Args:
        as_of: Outcomes, messages, replies and calls after this instant are left out.
        store: Called with the credits of each chunk; None stores nothing.
        progress: Called after each chunk with the number of outcomes so far.
    """
    inputs, result = hashlib.sha256(), hashlib.sha256()
    inputs.update(_written([rules.model, sorted(rules.windows.items())]))
    count, after = 0, NO_ID
    while ids := await _next_ids(session, after=after, as_of=as_of):
        outcomes = await read_outcomes(session, ids=ids, as_of=as_of, rules=[rules])
        rows = [row for one in outcomes for row in credit_rows(one, rules)]
        for one in outcomes:
            inputs.update(_written(list(_input_of(one))))
        result.update(result_bytes(sorted(rows, key=_place)))
        if store is not None:
            await store(rows)
        count, after = count + len(ids), ids[-1]
        if progress is not None:
            progress(count)
    return CreditHashes(outcomes=count, inputs=inputs.digest(), result=result.digest())


def _input_of(outcome: CreditedOutcome) -> Iterator[object]:
    yield from (outcome.id, outcome.amount_cents, outcome.occurred_at)
    touches = (
        [
            touch.membership_id,
            touch.campaign_id,
            touch.variant,
            touch.step,
            touch.touch_class,
            touch.at,
        ]
        for touch in outcome.touches
    )
    yield sorted(touches, key=lambda one: (one[0], one[4], one[5]))


def _place(row: CreditRow) -> tuple[UUID, bool, UUID]:
    """Return the sort key of a share of an outcome.

    Shares are sorted by outcome, then by recipient; the share without a recipient is the last one.
    The query ``STORED`` of the module ``verify`` reads the stored shares in the same order.
    """
    return row.outcome_id, row.membership_id is None, row.membership_id or NO_ID


def result_bytes(rows: Iterable[CreditRow]) -> bytes:
    """Convert credits to the bytes for their hash (``CreditHashes.result``).

    A credit is a share of an outcome. It belongs to one campaign message, or to no message.

    Args:
        rows: The credits, ordered by outcome.
    """
    return b"".join(
        _written(
            [
                row.outcome_id,
                row.membership_id,
                row.campaign_id,
                row.variant,
                row.step,
                row.touch_class,
                row.numerator,
                row.denominator,
                row.cents,
            ]
        )
        for row in rows
    )


def _written(parts: object) -> bytes:
    return json.dumps(parts, default=str, separators=(",", ":")).encode() + b"\n"


async def run_attribution(
    uow: UnitOfWork, *, version: int | None, now: datetime, progress: Progress | None = None
) -> AttributionRun:
    """Compute all credits of a version of the attribution rules, and replace the stored ones.

    Args:
        version: The number of the version; None for the current version.

    Raises:
        RulesNotFoundError: No version of the rules has the number ``version``.
    """
    rules = await find_rules(uow, version=version)
    session = uow.session
    await session.execute(LOCK, {"version": rules.version})
    await session.execute(DELETE_CREDITS, {"version": rules.version})

    run_id = new_id()

    async def store(rows: Sequence[CreditRow]) -> None:
        await insert_credits(session, rows, version=rules.version, run_id=run_id)

    hashes = await compute_all_credits(session, rules, as_of=now, store=store, progress=progress)
    run = AttributionRun(
        id=run_id,
        rules_version=rules.version,
        as_of=now,
        outcomes=hashes.outcomes,
        inputs_hash=hashes.inputs,
        result_hash=hashes.result,
    )
    session.add(run)
    await session.flush()
    return run


async def last_run(session: AsyncSession, *, version: int) -> AttributionRun | None:
    """Return the last attribution run of a version of the rules; None if there was no run.

    A run is one computation of all credits (shares of outcomes).
    """
    statement = (
        select(AttributionRun)
        .where(AttributionRun.rules_version == version)
        .order_by(AttributionRun.as_of.desc())
        .limit(1)
    )
    return await session.scalar(statement)


MISSING = text("""
    SELECT o.id FROM outcome o
    WHERE o.created_at > :since AND o.reverses_id IS NULL
      AND NOT EXISTS (SELECT FROM outcome_credit c
                      WHERE c.outcome_id = o.id AND c.rules_version = :version)
    LIMIT :limit
""")
EPOCH = "1900-01-01T00:00:00+00:00"


async def fill_credits(uow: UnitOfWork, rules: RuleSet, *, now: datetime) -> None:
    """Compute and store the credits of outcomes that were recorded since the last run.

    A credit is the share of an outcome that is credited to one message, or to no message. A run is
    one computation of all credits.

    Raises:
        CreditsNotComputedError: More than ``AT_ONCE`` outcomes have no credits.
    """
    run = await last_run(uow.session, version=rules.version)
    since = datetime.fromisoformat(EPOCH) if run is None else run.as_of - OVERLAP
    wanted = {"since": since, "version": rules.version, "limit": AT_ONCE + 1}
    ids = list(await uow.session.scalars(MISSING, wanted))
    if not ids:
        return
    if len(ids) > AT_ONCE:
        # The job computes the missing credits within the next minute, because ``is_run_due`` then
        # returns True.
        raise CreditsNotComputedError
    await uow.session.execute(LOCK, {"version": rules.version})
    # The ids are read again under the lock, because another request may have computed the credits
    # in the meantime.
    ids = list(await uow.session.scalars(MISSING, wanted))
    outcomes = await read_outcomes(uow.session, ids=ids, as_of=now, rules=[rules])
    rows = [row for one in outcomes for row in credit_rows(one, rules)]
    await insert_credits(uow.session, rows, version=rules.version, run_id=None)


async def is_run_due(uow: UnitOfWork, *, now: datetime) -> bool:
    """Return whether it is time to compute all credits again by the current attribution rules."""
    rules = await find_rules(uow, version=None)
    run = await last_run(uow.session, version=rules.version)
    since = datetime.fromisoformat(EPOCH) if run is None else run.as_of - OVERLAP
    wanted = {"since": since, "version": rules.version, "limit": AT_ONCE + 1}
    waiting = len(list(await uow.session.scalars(MISSING, wanted)))
    if run is None:
        return waiting > 0
    return waiting > AT_ONCE or now - run.as_of >= EVERY
