"""Show what new attribution rules would change, before they are added."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.insight.attribution.credits import RuleSet
from crm_api.domain.insight.attribution.rules import check_windows, find_rules
from crm_api.domain.insight.attribution.runs import CreditRow, credit_rows
from crm_api.domain.insight.attribution.touches import CreditedOutcome, read_outcomes
from crm_api.platform.database import UnitOfWork

MOST_PREVIEWED = 5_000
"""A preview compares the credits of at most this number of outcomes: the latest outcomes."""

LATEST = text("""
    SELECT o.id FROM outcome o
    WHERE o.reverses_id IS NULL AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
    ORDER BY o.occurred_at DESC, o.id DESC LIMIT :limit
""")
NAMES = text("SELECT c.id, c.name FROM campaign c WHERE c.id = ANY(CAST(:ids AS uuid[]))")


@dataclass(kw_only=True)
class CreditSum:
    """The people and the money that are credited to one campaign, to all campaigns or to none.

    Attributes:
        people: The ids of the people whose outcomes are credited, wholly or in part.
        cents: The credited money, in cents. For example, half of an outcome of $10.00 adds 500
            cents.
    """

    people: set[str] = field(default_factory=set)
    cents: int = 0


@dataclass(frozen=True, kw_only=True)
class CampaignChange:
    """What the current and the new attribution rules credit to a campaign: people and money."""

    campaign_id: UUID
    name: str | None
    current: CreditSum
    proposed: CreditSum


@dataclass(frozen=True, kw_only=True)
class RulesPreview:
    """What would change if new attribution rules replaced the current rules.

    Attributes:
        current_version: The version of the current rules.
        outcomes: The number of outcomes that were compared: at most the latest ``MOST_PREVIEWED``.
        people: The number of people for whom at least one credit would change.
        cents: The money, in cents, that would be credited differently.
        attributed: The people and money credited to campaigns, under the current and the new rules.
        unattributed: The people and money credited to no message, under the current and the new
            rules.
        campaigns: Each campaign that has a credit under the current or the new rules.
    """

    current_version: int
    outcomes: int
    people: int
    cents: int
    attributed: tuple[CreditSum, CreditSum]
    unattributed: tuple[CreditSum, CreditSum]
    campaigns: list[CampaignChange]


async def preview_rules(uow: UnitOfWork, proposed: RuleSet, *, now: datetime) -> RulesPreview:
    """Compare how the current and the new attribution rules credit the latest outcomes.

    Nothing is stored.

    Raises:
        NoWindowError: All windows of the new rules are 0 hours. A window is a time limit: an
            outcome is credited to a message only if it happens within this time.
    """
    check_windows(dict(proposed.windows))
    current = await find_rules(uow, version=None)
    ids = list(await uow.session.scalars(LATEST, {"limit": MOST_PREVIEWED}))
    outcomes = await read_outcomes(uow.session, ids=ids, as_of=now, rules=(current, proposed))
    before = [credit_rows(one, current) for one in outcomes]
    after = [credit_rows(one, proposed) for one in outcomes]
    moved: set[str] = set()
    cents = 0
    for one, old, new in zip(outcomes, before, after, strict=True):
        if old != new:
            moved.add(one.person)
            cents += _moved_cents(old, new)
    sums = (_sum(outcomes, before), _sum(outcomes, after))
    found = sorted({one for by in sums for one in by if one is not None})
    names = {row.id: row.name for row in await uow.session.execute(NAMES, {"ids": found})}
    return RulesPreview(
        current_version=current.version,
        outcomes=len(outcomes),
        people=len(moved),
        cents=cents,
        attributed=(_attributed(sums[0]), _attributed(sums[1])),
        unattributed=(sums[0][None], sums[1][None]),
        campaigns=[
            CampaignChange(
                campaign_id=one, name=names.get(one), current=sums[0][one], proposed=sums[1][one]
            )
            for one in found
        ],
    )


def _moved_cents(old: Iterable[CreditRow], new: Iterable[CreditRow]) -> int:
    """Return how many cents of an outcome the new rules would credit to another message.

    Cents that move to or from the unattributed share count too.
    """
    change: dict[UUID | None, int] = defaultdict(int)
    for row in new:
        change[row.membership_id] += row.cents or 0
    for row in old:
        change[row.membership_id] -= row.cents or 0
    return sum(one for one in change.values() if one > 0)


def _sum(
    outcomes: list[CreditedOutcome], credited: list[list[CreditRow]]
) -> dict[UUID | None, CreditSum]:
    sums: dict[UUID | None, CreditSum] = defaultdict(CreditSum)
    for outcome, rows in zip(outcomes, credited, strict=True):
        for row in rows:
            sums[row.campaign_id].people.add(outcome.person)
            sums[row.campaign_id].cents += row.cents or 0
    return sums


def _attributed(sums: dict[UUID | None, CreditSum]) -> CreditSum:
    own = [one for campaign_id, one in sums.items() if campaign_id is not None]
    people = set().union(*(one.people for one in own))
    return CreditSum(people=people, cents=sum(one.cents for one in own))
