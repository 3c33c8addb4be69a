"""Where a campaign and its line stand: what a forecast is made from, read by few statements."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns.forecast import queries
from crm_api.domain.campaigns.models import Campaign, MembershipStatus
from crm_api.domain.campaigns.schedule import RECIPIENT
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.lines.models import Line

COUNTED = 2_000
"""So many who wait are counted place by place; of more a sample tells the places."""
FEW = 20
"""A place where fewer wait is counted even then: a sample would miss it."""
AUDIENCE_COUNTED = 100_000
AUDIENCE_SAMPLE = 10_000
"""People of a draft's list: its audience is counted up to the one, of a longer list as many as the
other stand for it."""
LOOKED_BACK = timedelta(days=14)
_REACHED = (MembershipStatus.SENT, MembershipStatus.DELIVERED)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Who waits for one of the campaign's texts.

    Attributes:
        people: By zone key.
        first_due: When the first of them is due; None when that is not known.
        last_due: When the last of them is.
    """

    people: Mapping[str, float] = field(default_factory=dict)
    first_due: datetime | None = None
    last_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known when a forecast is made.

    Attributes:
        zone_keys: Of all recipients.
        waiting: By step.
        is_sampled: The places are told by a sample; where all have the same hours they need none.
        statuses: People of all steps.
        reached: Texts that were sent.
        replied: Of these, how many were answered.
        campaign_used: Of today's texts, what counts against the campaign's limit.
        line_used: The same for the line.
        rivals: Other campaigns on the line.
        lately: The line's newest texts, by its day and campaign.
        uncertain: Of the line's texts lately, those that may not have arrived, but count.
    """

    zone_keys: tuple[str, ...]
    waiting: Sequence[Waiting]
    is_sampled: bool = False
    statuses: Mapping[str, int] = field(default_factory=dict)
    reached: int = 0
    replied: int = 0
    campaign_used: int
    line_used: int
    rivals: Sequence[Row[Any]] = ()
    lately: Sequence[Row[Any]] = ()
    uncertain: int = 0

    @property
    def people(self) -> int:
        """How many wait, of all steps."""
        return round(sum(sum(step.people.values()) for step in self.waiting))


@dataclass(frozen=True, kw_only=True)
class _People:
    zone_keys: tuple[str, ...]
    waiting: Sequence[Waiting]
    is_sampled: bool
    statuses: Mapping[str, int]
    reached: int = 0
    replied: int = 0


async def read(
    uow: UnitOfWork,
    campaign: Campaign,
    line: Line,
    *,
    rules: RuleBook,
    used: tuple[int, int],
    now: datetime,
) -> Situation:
    """Look at a campaign, its line and who else sends on it.

    Args:
        uow: Open.
        campaign: Any.
        line: The campaign's.
        rules: Where there are some, places differ in their hours.
        used: Texts of today, the campaign's and the line's.
        now: The present instant.
    """
    session, since = uow.session, now - LOOKED_BACK
    if campaign.recipients_total is None:
        people = await _read_audience(uow, campaign, now=now)
    else:
        differ = bool(rules.rules) or campaign.timezone == RECIPIENT
        people = await _read_recipients(uow, campaign, places_differ=differ)
    campaign_used, line_used = used
    return Situation(
        zone_keys=people.zone_keys,
        waiting=people.waiting,
        is_sampled=people.is_sampled,
        statuses=people.statuses,
        reached=people.reached,
        replied=people.replied,
        campaign_used=campaign_used,
        line_used=line_used,
        rivals=await queries.list_rivals(
            session, line_id=line.id, campaign_id=campaign.id, now=now
        ),
        lately=await queries.count_lately(
            session, line_id=line.id, timezone=line.timezone, since=since
        ),
        uncertain=await queries.count_uncertain(session, line_id=line.id, since=since),
    )


async def _read_recipients(uow: UnitOfWork, campaign: Campaign, *, places_differ: bool) -> _People:
    session, steps = uow.session, 1 + len(campaign.follow_ups)
    rows = await queries.count_by_step(session, campaign_id=campaign.id)
    pending = {row.step: row.people for row in rows if row.status == MembershipStatus.PENDING}
    total = sum(pending.values())
    are_many = total > COUNTED
    places = await queries.count_places(
        session,
        campaign_id=campaign.id,
        zone_keys=campaign.zone_keys,
        most=FEW if are_many else COUNTED,
    )
    # A follow-up's due times are told by the sample too.
    is_sampled = are_many and (places_differ or steps > 1)
    if are_many:
        sample = await queries.sample_places(session, campaign_id=campaign.id) if is_sampled else ()
        waiting = _estimated(steps, pending, places, sample)
    else:
        waiting = [_waiting(places, step) for step in range(steps)]
    statuses: Counter[str] = Counter()
    for row in rows:
        statuses[row.status] += row.people
    return _People(
        zone_keys=tuple(campaign.zone_keys),
        waiting=waiting,
        is_sampled=is_sampled,
        statuses=statuses,
        reached=sum(row.people for row in rows if row.status in _REACHED),
        replied=sum(row.replied for row in rows),
    )


async def _read_audience(uow: UnitOfWork, campaign: Campaign, *, now: datetime) -> _People:
    """Count what a start would make of the audience."""
    sample: Sequence[UUID] | None = None
    scale, list_id = 1.0, campaign.audience.get("list_id")
    if list_id:
        size = await queries.list_size(uow.session, list_id=UUID(list_id))
        if size > AUDIENCE_COUNTED:
            percent = min(100.0, 100 * AUDIENCE_SAMPLE / size)
            sample = await queries.sample_list(uow.session, list_id=UUID(list_id), percent=percent)
            scale = size / max(1, len(sample))
    rows = await queries.count_audience(uow.session, campaign=campaign, sample=sample, now=now)
    statuses: Counter[str] = Counter()
    people: dict[str, float] = {}
    for row in rows:
        statuses[row.verdict] += round(row.people * scale)
        if row.verdict == MembershipStatus.PENDING:
            people[row.zone_key] = row.people * scale
    return _People(
        zone_keys=tuple(sorted({row.zone_key for row in rows})),
        waiting=[Waiting(people=people), *(Waiting() for _ in campaign.follow_ups)],
        is_sampled=sample is not None,
        statuses=statuses,
    )


def _waiting(rows: Iterable[Row[Any]], step: int) -> Waiting:
    own = [row for row in rows if row.step == step]
    return Waiting(
        people={row.zone_key: float(row.people) for row in own},
        first_due=min((row.first_due for row in own), default=None),
        last_due=max((row.last_due for row in own), default=None),
    )


def _estimated(
    steps: int, pending: Mapping[int, int], few: Sequence[Row[Any]], sample: Sequence[Row[Any]]
) -> list[Waiting]:
    """Spread those who wait over the places: small ones as counted, the rest as sampled."""
    counted: Counter[str] = Counter()
    for row in few:
        counted[row.zone_key] += row.people
    sampled: Counter[str] = Counter()
    for row in sample:
        sampled[row.zone_key] += row.people
    total = sum(pending.values())
    people = {key: float(count) for key, count in counted.items() if count < FEW}
    rest = max(0.0, total - sum(people.values()))
    # One more each: a large place that the pages happen to miss is not nothing.
    large = {key: 1 + sampled[key] for key in counted if key not in people}
    people |= {key: rest * count / sum(large.values()) for key, count in large.items()}
    dues: defaultdict[int, list[datetime]] = defaultdict(list)
    for row in [*few, *sample]:
        dues[row.step] += [row.first_due, row.last_due]
    return [
        Waiting(
            people={key: count * share for key, count in people.items()} if share else {},
            first_due=min(dues[step], default=None),
            last_due=max(dues[step], default=None),
        )
        for step in range(steps)
        for share in [pending.get(step, 0) / total]
    ]
