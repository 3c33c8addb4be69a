"""Read how many people wait for a campaign's messages, and when they become due.

The people are counted by zone key: the states and time zones in which a person may be. If many
people wait, this module reads stored sums and samples. So the reading time does not grow with the
number of recipients.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.audience.selection import (
    STATEMENTS_KEPT,
    AudienceConditions,
    AudienceSettings,
    assess_audience,
    resolve_audience,
)
from crm_api.domain.campaigns.forecast.number_waits import NumberRules, TextedNumber, split_waiting
from crm_api.domain.campaigns.forecast.plan import Waiting
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.schedule import RECIPIENT
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.platform.database import typed_rows

COUNTED = 2_000
"""If at most this number of people wait, all of them are counted by zone key (the states and time
zones in which a person may live). If more people wait, only a sample is counted."""
FEW = 20
"""If fewer people than this wait in a zone key (the states and time zones in which a person may
live), all of them are counted, because a sample may not include them."""
SAMPLED_PAGES = 100
"""The number of table pages in a sample: a few thousand recipients, read in about a millisecond."""
AUDIENCE_COUNTED = 100_000
AUDIENCE_SAMPLE = 10_000
"""Numbers for a draft whose audience is a list. If the list has at most ``AUDIENCE_COUNTED``
contacts, all contacts are counted. If the list is longer, only a sample of about
``AUDIENCE_SAMPLE`` contacts is counted."""
_REACHED = (MembershipStatus.SENT, MembershipStatus.DELIVERED)


@dataclass(frozen=True, kw_only=True)
class People:
    """The recipients of a campaign, or the audience of a draft.

    Attributes:
        waiting: The people who wait for a message, grouped by step, zone key and due time.
        is_sampled: True if the groups were estimated from a sample.
        statuses: The number of people by status, over all steps. For a draft, the people are
            counted by the status or skip reason that they would get if the campaign started now.
        reached: The number of messages that were sent to the recipients, follow-ups included.
        replied: The number of people who replied to a message of the campaign. A person who replied
            to several messages counts once, because the first reply already ends the follow-ups.
    """

    zone_keys: tuple[str, ...]
    waiting: Sequence[Waiting]
    is_sampled: bool
    statuses: Mapping[str, int]
    reached: int = 0
    replied: int = 0


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many recipients at one step have one status, and how many of them replied."""

    step: int
    status: str
    people: int
    replied: int


@dataclass(frozen=True, slots=True)
class AudienceCount:
    """The number of contacts in an audience that have the same ``verdict`` and ``zone_key``.

    Attributes:
        verdict: The status or the skip reason that these contacts would get if the campaign started
            now.
    """

    verdict: str
    zone_key: str
    people: int


async def read_people(
    session: AsyncSession, campaign: Campaign, *, rules: RuleBook, now: datetime
) -> People:
    """Read the people who wait for a message of a campaign. The campaign may have any status."""
    if campaign.recipients_total is None:
        return await _read_audience(session, campaign, now=now)
    rows = await count_by_step(session, campaign_id=campaign.id)
    pending = {row.step: row.people for row in rows if row.status == MembershipStatus.PENDING}
    total = sum(pending.values())
    are_many = total > COUNTED
    keys = campaign.zone_keys
    groups = await count_groups(
        session, campaign_id=campaign.id, zone_keys=keys, most=FEW if are_many else COUNTED, now=now
    )
    # If all recipients have the same allowed hours, their zone keys (states and time zones) do not
    # matter, and no sample is needed. If the campaign has follow-ups, a sample is needed to know
    # when they are due.
    differ = bool(rules.rules) or campaign.timezone == RECIPIENT or bool(campaign.follow_ups)
    is_sampled = are_many and differ
    waiting = groups
    if are_many:
        sample = (
            await sample_groups(session, campaign_id=campaign.id, now=now) if is_sampled else []
        )
        waiting = _estimate(pending, groups, sample)
    number_rules = NumberRules.of(campaign, rules=rules, now=now)
    hours = number_rules.hours(keys)
    is_put_off = not are_many and any(group.due_until for group in waiting)
    if total and (hours or is_put_off):
        texted = await list_texted(
            session, campaign=campaign, hours=hours, is_sampled=are_many, now=now
        )
        scale = total / texted[0].read if are_many and texted else 1.0
        waiting = split_waiting(waiting, texted, number_rules, scale=scale)
    statuses: Counter[str] = Counter()
    for row in rows:
        statuses[row.status] += row.people
    return People(
        zone_keys=tuple(keys),
        waiting=waiting,
        is_sampled=is_sampled,
        statuses=statuses,
        reached=sum(row.people for row in rows if row.status in _REACHED),
        # A reply to a follow-up is stored at the follow-up and at the first message. So only the
        # first messages are read. Otherwise the reply would count twice.
        replied=sum(row.replied for row in rows if row.step == 0),
    )


def _estimate(
    pending: Mapping[int, int], few: Sequence[Waiting], sample: Sequence[Waiting]
) -> list[Waiting]:
    """Estimate how the waiting people are distributed over steps and zone keys.

    Args:
        pending: The number of waiting people by step.
        few: Counts of waiting people by step and zone key. The count for a zone key is exact only
            if it is below ``FEW``.
        sample: The waiting people in a sample of the recipients. From the sample, the function
            estimates the counts that are not exact.
    """
    counted: Counter[str] = Counter()
    for group in few:
        counted[group.zone_key] += round(group.people)
    # The number of people in each zone key (states and time zones) with many people is estimated
    # from a sample. The estimate starts at one person, because the sample may not include anybody
    # with this zone key.
    large = {key: 1.0 for key, count in counted.items() if count >= FEW}
    for group in sample:
        if group.zone_key in large:
            large[group.zone_key] += group.people
    total = sum(pending.values())
    rest = total - sum(count for key, count in counted.items() if key not in large)
    people = counted | {key: rest * count / sum(large.values()) for key, count in large.items()}
    found = []
    for step, waiting in pending.items():
        own = [group for group in (*few, *sample) if group.step == step]
        found += [
            Waiting(
                zone_key=key,
                step=step,
                people=count * waiting / total,
                due_from=min((one.due_from for one in own if one.due_from), default=None),
                due_until=max((one.due_until for one in own if one.due_until), default=None),
            )
            for key, count in people.items()
        ]
    return found


TALLY = text("""
    SELECT t.step, t.status, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied
    FROM campaign_tally t WHERE t.campaign_id = :campaign_id
    GROUP BY t.step, t.status
""")


async def count_by_step(session: AsyncSession, *, campaign_id: UUID) -> list[StepCount]:
    """Count the recipients of a campaign, and those who replied, for each step and status.

    Step 0 is the first message, and step 1 is the first follow-up.
    """
    return typed_rows(StepCount, await session.execute(TALLY, {"campaign_id": campaign_id}))


# SQL that selects at most `most` waiting people of each zone key (states and time zones), by the
# index of waiting recipients.
_IN_ORDER = """
    SELECT q.step, q.zone_key, q.due_at, q.phone
    FROM unnest(CAST(:zone_keys AS text[])) AS z (zone_key)
    CROSS JOIN LATERAL (
        SELECT m.step, m.zone_key, m.due_at, m.phone FROM campaign_membership m
        WHERE m.campaign_id = :campaign_id AND m.zone_key = z.zone_key AND m.status = 'pending'
        LIMIT :most
    ) q
"""

# REPEATABLE always selects the same pages. So two successive forecasts differ only by the messages
# that were sent between them. The size of the table is read from its file, because `relpages` of
# pg_class is 0 until the first VACUUM or ANALYZE. With 0 pages, the sample would be the whole
# table. Reading two million rows takes 330 ms.
_SAMPLED = """
    SELECT m.step, m.zone_key, m.due_at, m.phone
    FROM campaign_membership m TABLESAMPLE SYSTEM ((
        SELECT least(100, 100 * CAST(:pages AS real) * CAST(current_setting('block_size') AS real)
                          / greatest(pg_relation_size('campaign_membership'), 1))
    )) REPEATABLE (1)
    WHERE m.campaign_id = :campaign_id AND m.status = 'pending'
"""

_COUNT = """
    SELECT p.step, p.zone_key, count(*) AS people,
           nullif(greatest(min(p.due_at), CAST(:now AS timestamptz)), :now) AS due_from,
           nullif(greatest(max(p.due_at), CAST(:now AS timestamptz)), :now) AS due_until
    FROM ({people}) p GROUP BY p.step, p.zone_key
"""
COUNT_PLACES = text(_COUNT.format(people=_IN_ORDER))
SAMPLE_PLACES = text(_COUNT.format(people=_SAMPLED))


async def count_groups(
    session: AsyncSession, *, campaign_id: UUID, zone_keys: Sequence[str], most: int, now: datetime
) -> list[Waiting]:
    """Count the waiting people of a campaign, separately for each step and each zone key.

    At most ``most`` people of each zone key are counted. Each count also has two times: when the
    first of its people becomes due, and when the last becomes due. A time that has passed is None.
    """
    values = {"campaign_id": campaign_id, "zone_keys": list(zone_keys), "most": most, "now": now}
    return typed_rows(Waiting, await session.execute(COUNT_PLACES, values))


async def sample_groups(
    session: AsyncSession, *, campaign_id: UUID, now: datetime
) -> list[Waiting]:
    """Count the waiting people in a sample of the campaign's recipients, by step and zone key.

    The sample is about ``SAMPLED_PAGES`` pages of the table ``campaign_membership``. The counts are
    those of the sample, not estimates for all recipients.
    """
    values = {"campaign_id": campaign_id, "pages": SAMPLED_PAGES, "now": now}
    return typed_rows(Waiting, await session.execute(SAMPLE_PLACES, values))


# This query gives one row for each waiting recipient who is not due yet, or whose phone number got
# campaign messages in the last `hours` hours. Rules about phone numbers cannot delay the other
# recipients, so these recipients are only counted. In a large campaign, most recipients are of this
# kind.
_TEXTED = """
    SELECT p.step, p.zone_key, p.due_at, t.last_other,
           coalesce(t.texted, CAST('{{}}' AS timestamptz[])) AS texted, p.read
    FROM (SELECT r.*, count(*) OVER () AS read FROM ({people} LIMIT :rows) r) p
    CROSS JOIN LATERAL (
        SELECT max(a.created_at) FILTER (WHERE a.campaign_id <> :campaign_id) AS last_other,
               array_agg(greatest(a.created_at, a.called_at, a.accepted_at)
                         ORDER BY greatest(a.created_at, a.called_at, a.accepted_at) DESC)
                   AS texted
        FROM send_attempt a
        WHERE a.phone = p.phone AND a.kind = 'campaign'
          AND a.status NOT IN ('released', 'refused')
          AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => :hours + 1)
    ) t
    WHERE p.due_at > CAST(:now AS timestamptz) OR t.texted IS NOT NULL
"""
TEXTED = text(_TEXTED.format(people=_IN_ORDER))
TEXTED_SAMPLE = text(_TEXTED.format(people=_SAMPLED))


async def list_texted(
    session: AsyncSession, *, campaign: Campaign, hours: int, is_sampled: bool, now: datetime
) -> list[TextedNumber]:
    """Return the waiting recipients who are not due yet, or whose number got a recent message.

    The messages of all campaigns count. At most ``COUNTED`` recipients are examined.

    Args:
        hours: A message is recent if it is less than ``hours`` + 1 hours old.
        is_sampled: True to examine only a sample of the recipients.
    """
    values = {"campaign_id": campaign.id, "hours": hours, "rows": COUNTED, "now": now}
    if is_sampled:
        statement, values["pages"] = TEXTED_SAMPLE, SAMPLED_PAGES
    else:
        statement = TEXTED
        values |= {"zone_keys": list(campaign.zone_keys), "most": COUNTED}
    return typed_rows(TextedNumber, await session.execute(statement, values))


LIST_SIZE = text("SELECT count(*) FROM contact_list_member l WHERE l.list_id = :list_id")

SAMPLE_LIST = text("""
    SELECT c.id FROM contact c TABLESAMPLE SYSTEM (CAST(:percent AS real)) REPEATABLE (1)
    WHERE EXISTS (
        SELECT 1 FROM contact_list_member l WHERE l.list_id = :list_id AND l.contact_id = c.id)
""")


async def _read_audience(session: AsyncSession, campaign: Campaign, *, now: datetime) -> People:
    """Count the people who would become recipients if the draft were started now."""
    sample: Sequence[UUID] | None = None
    scale, list_id = 1.0, campaign.audience.get("list_id")
    if list_id:
        size = await session.scalar(LIST_SIZE, {"list_id": list_id}) or 0
        if size > AUDIENCE_COUNTED:
            percent = min(100.0, 100 * AUDIENCE_SAMPLE / size)
            values = {"list_id": list_id, "percent": percent}
            sample = (await session.scalars(SAMPLE_LIST, values)).all()
            scale = size / max(1, len(sample))
    rows = await count_audience(session, campaign=campaign, sample=sample, now=now)
    statuses: Counter[str] = Counter()
    for row in rows:
        statuses[row.verdict] += round(row.people * scale)
    return People(
        zone_keys=tuple(sorted({row.zone_key for row in rows})),
        waiting=[
            Waiting(zone_key=row.zone_key, people=row.people * scale)
            for row in rows
            if row.verdict == MembershipStatus.PENDING
        ],
        is_sampled=sample is not None,
        statuses=statuses,
    )


@lru_cache(maxsize=STATEMENTS_KEPT)
def count_by_zone_statement(conditions: AudienceConditions) -> TextClause:
    """Return the statement that counts the people of an audience in groups.

    The people in a group have the same two values:

    - ``verdict``: the status or the skip reason that the start of the campaign would give them.
    - ``zone_key``: the states and time zones in which they may be.
    """
    return text(f"""
        WITH {assess_audience(conditions)}
        SELECT s.verdict, s.zone_key, count(*) AS people
        FROM assessed s GROUP BY s.verdict, s.zone_key
    """)


async def count_audience(
    session: AsyncSession, *, campaign: Campaign, sample: Sequence[UUID] | None, now: datetime
) -> list[AudienceCount]:
    """Count the people of an audience by verdict and zone key, as if the campaign started now.

    Args:
        sample: The ids of the only contacts of the audience's list to count; None for all.
    """
    audience = await resolve_audience(session, AudienceSettings.of(campaign), as_of=now)
    values = audience.values
    if sample is not None:
        values |= {"list_id": None, "contact_ids": list(sample)}
    statement = count_by_zone_statement(audience.conditions)
    return typed_rows(AudienceCount, await session.execute(statement, values))
