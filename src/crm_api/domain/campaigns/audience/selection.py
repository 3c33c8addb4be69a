"""SQL that selects the people of an audience, and decides the verdict of each person.

A verdict is the status or the skip reason that a person gets when a campaign starts. The start, the
preview and the forecast of a campaign build their SQL statements from the SQL in this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import (
    HOLDING,
    STOPS,
    WAS_IN_TOUCH,
    WAS_MESSAGED_BEFORE,
    NumberRule,
    stopping_rule,
)
from crm_api.domain.people.segments import compiler as segments

STATEMENTS_KEPT = 32
"""The number of built statements that are cached. Audiences without segments need only eight."""


@dataclass(frozen=True, kw_only=True)
class AudienceConditions:
    """The optional SQL conditions of the query that finds the contacts of an audience.

    In the SQL, ``c`` is the table ``contact``.

    Attributes:
        named: The condition that a contact is in the audience's segment; empty if the audience has
            no segment.
        left_out: The condition that a contact is in no excluded segment; empty if no segment is
            excluded.
        exclusions: The keys of the conditions in ``EXCLUSIONS`` that the query needs, in the order
            of that dictionary.
    """

    named: str = ""
    left_out: str = ""
    exclusions: tuple[str, ...] = ()


# SQL of the common table expression `named`: the contacts of a list, or the contacts whose ids the
# audience contains. Only one of `list_id` and `contact_ids` is set. Contacts that were added to the
# list after the start (`as_of`) are not included. A segment does not use this expression, because
# its condition is checked for all contacts.
_WHOLE = """
    named AS (
        SELECT l.contact_id FROM contact_list_member l
        WHERE l.list_id = CAST(:list_id AS uuid) AND l.added_at <= CAST(:as_of AS timestamptz)
        UNION ALL
        SELECT unnest(CAST(:contact_ids AS uuid[]))
        UNION ALL
        SELECT d.merged_into FROM contact d WHERE d.id = ANY(CAST(:contact_ids AS uuid[]))
    )
"""


IS_NAMED = "c.id IN (SELECT n.contact_id FROM named n)"

EXCLUSIONS = {
    "exclude_list_ids": """
          AND NOT EXISTS (
              SELECT 1 FROM contact_list_member l
              WHERE l.list_id = ANY(CAST(:exclude_list_ids AS uuid[])) AND l.contact_id = c.id
              {each})""",
    "exclude_contact_ids": """
          AND NOT EXISTS (
              SELECT 1 FROM unnest(CAST(:exclude_contact_ids AS uuid[])) AS x (id)
              WHERE x.id = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM contact d
              WHERE d.id = ANY(CAST(:exclude_contact_ids AS uuid[])) AND d.merged_into = c.id)""",
    "exclude_campaign_ids": """
          AND NOT EXISTS (
              SELECT 1 FROM contact d JOIN campaign_membership p ON p.phone = d.phone
              WHERE d.merged_into = c.id
                AND p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled')
              {each})
          AND NOT EXISTS (
              SELECT 1 FROM campaign_membership p
              WHERE p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled') AND p.contact_id = c.id
              {each})
          AND NOT EXISTS (
              SELECT 1 FROM campaign_membership p
              WHERE p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled') AND p.phone = c.phone
              {each})""",
}
"""The SQL conditions that leave people out, by the name of the bind value with the excluded ids.

A statement contains only the conditions that its audience needs, because each condition costs time.
For example, the condition about excluded campaigns is checked once per person, and each check reads
rows of ``campaign_membership``. The statement that stores recipients also writes to this table. If
the table was empty before, each check reads the rows that the statement itself has inserted. Then
storing the first 20,000 people takes 3.2 s of CPU time with this condition, and 0.4 s without it.
"""

# SQL that selects the people of the audience, and the verdict of each (whether the person may get
# messages). Deleted contacts, and contacts that were created after the start, are left out. People
# who may not get messages are included with their skip reason, so that a user can see why they got
# nothing. A recipient of an excluded campaign is found by contact and by phone number, because one
# of the two may have changed. A merged contact is also found by its old id and its old phone
# number. `{each}` is an OFFSET that makes PostgreSQL run a sub-select once per person. Without this
# OFFSET, PostgreSQL would read all excluded rows for each page.
_ASSESSMENT = """
    audience AS (
        SELECT c.id AS contact_id, c.phone, c.zone_key
        FROM {people} c
        WHERE c.deleted_at IS NULL AND c.created_at <= CAST(:as_of AS timestamptz)
          AND {is_named} {left_out}{exclusions}
    ), flags AS (
        SELECT f.phone,
               {number_facts},
               bool_or(f.flag_type = 'recently_texted') AS recently_texted
        FROM contact_flag f
        WHERE f.flag_type IN ({number_flags}, 'recently_texted')
          AND (f.expires_at IS NULL OR f.expires_at > CAST(:as_of AS timestamptz))
          {flags_filter}
        GROUP BY f.phone
    ), assessed AS (
        SELECT a.contact_id, a.phone, a.zone_key,
               CASE WHEN {stopping_rule} <> '{holding}' THEN {stopping_rule}
                    WHEN CAST(:skip_landlines AS boolean) AND EXISTS (
                        SELECT 1 FROM phone_lookup k
                        WHERE k.phone = a.phone AND k.line_type = 'landline' {each})
                    THEN 'landline'
                    WHEN {stopping_rule} = '{holding}' THEN 'held'
                    WHEN CAST(:previously_contacted AS text) = 'send' THEN 'pending'
                    WHEN f.recently_texted OR {texted_before}
                    THEN CASE CAST(:previously_contacted AS text)
                         WHEN 'skip' THEN 'previously_contacted' ELSE 'review' END
                    ELSE 'pending' END AS verdict
        FROM audience a LEFT JOIN flags f ON f.phone = a.phone
    )
"""

# The flags of phone numbers are read once for the whole audience. The rule about deleted contacts
# is left out, because an audience has no deleted contacts.
_FLAGS = [rule for rule in STOPS[SendKind.CAMPAIGN] if rule is not NumberRule.CONTACT_DELETED]

_NUMBER_FLAGS = ", ".join(f"'{rule}'" for rule in _FLAGS)

_NUMBER_FACTS = ", ".join(f"bool_or(f.flag_type = '{rule}') AS {rule}" for rule in _FLAGS)

_STOPPING_RULE = stopping_rule(SendKind.CAMPAIGN, facts={rule: f"f.{rule}" for rule in _FLAGS})


def assess(
    conditions: AudienceConditions,
    *,
    is_named: str,
    people: str = "contact",
    each: str = "",
    flags_filter: str = "",
) -> str:
    """Return SQL that selects the people of an audience, with a verdict for each person.

    The SQL consists of three CTEs: ``audience``, ``flags`` (flags that can prevent messages) and
    ``assessed`` (the people with their verdicts).

    Args:
        is_named: An SQL condition that is true if the contact ``c`` belongs to the audience.
        people: The table or the sub-select from which the contacts are read.
        each: SQL at the end of each sub-select that looks up facts about one person. ``OFFSET 0``
            makes PostgreSQL run the sub-select once per person. With an empty text, PostgreSQL may
            use a join.
        flags_filter: A condition that limits ``flags`` to some phone numbers; empty for all.
    """
    before = WAS_MESSAGED_BEFORE.format(phone="a.phone", contact="a.contact_id", each=each)
    left_out = f"AND {conditions.left_out}" if conditions.left_out else ""
    exclusions = "".join(EXCLUSIONS[name].format(each=each) for name in conditions.exclusions)
    return _ASSESSMENT.format(
        each=each,
        people=people,
        flags_filter=flags_filter,
        texted_before=before,
        stopping_rule=_STOPPING_RULE,
        holding=HOLDING,
        number_facts=_NUMBER_FACTS,
        number_flags=_NUMBER_FLAGS,
        is_named=is_named,
        left_out=left_out,
        exclusions=exclusions,
    )


def assess_audience(conditions: AudienceConditions) -> str:
    """Return SQL that selects the people of an audience, with a verdict for each person.

    A verdict is the status or the skip reason that a person gets when the campaign starts. The SQL
    consists of CTEs. The last CTE, ``assessed``, has one row for each person.
    """
    if conditions.named:
        return assess(conditions, is_named=conditions.named)
    return f"{_WHOLE}, {assess(conditions, is_named=IS_NAMED)}"


# A hash of the contact's id and the campaign's id decides the variant. So a contact always gets the
# same variant in one campaign, but perhaps another variant in the next campaign. `thresholds` are
# the running sums of the weights, without the last sum. So the result of `width_bucket` is the
# position of the variant. In a mixed campaign, people who were in touch with the company before get
# the variant `known_variant`. The weight of this variant is 0.
VARIANT_OF_PERSON = f"""
    CASE WHEN CAST(:known_variant AS integer) IS NOT NULL AND {
    WAS_IN_TOUCH.format(phone="s.phone", contact="s.contact_id", each="OFFSET 0")
}
         THEN CAST(:known_variant AS integer)
         ELSE width_bucket(
             (hashtextextended(s.contact_id::text || CAST(:campaign_id AS uuid)::text, 0)
                 & 9223372036854775807) % 100,
             CAST(:thresholds AS bigint[])) END
"""


@dataclass(frozen=True, kw_only=True)
class AudienceSettings:
    """The settings of a campaign that decide who is in the audience, and who gets a message."""

    audience: dict[str, Any]
    previously_contacted: str
    skip_landlines: bool

    @classmethod
    def of(cls, campaign: Campaign) -> "AudienceSettings":
        """Return the audience settings of a stored campaign."""
        return cls(
            audience=campaign.audience,
            previously_contacted=campaign.previously_contacted,
            skip_landlines=campaign.skip_landlines,
        )


@dataclass(frozen=True, kw_only=True)
class ResolvedAudience:
    """The SQL conditions that select an audience, and the bind values for them."""

    conditions: AudienceConditions
    values: dict[str, Any]


# This setting is valid until the end of the transaction. Without it, PostgreSQL switches to a
# generic plan after five runs on a connection. The generic plan expects small lists. For 100,000
# people, it takes 12 s instead of 0.6 s.
PLAN_FOR_VALUES = text("SET LOCAL plan_cache_mode = force_custom_plan")


async def resolve_audience(
    session: AsyncSession, settings: AudienceSettings, *, as_of: datetime, by_page: bool = False
) -> ResolvedAudience:
    """Return the SQL conditions that select an audience, and the bind values for them.

    All included and excluded segments are locked until the transaction ends.

    Args:
        as_of: The start of the campaign. People who were added after this instant, and flags that
            expired before this instant, are ignored. Periods such as "in the last 30 days" end at
            this instant.
        by_page: True for a statement that reads the people page by page.

    Raises:
        SegmentNotFoundError: A segment of the audience does not exist.
    """
    audience = settings.audience
    excluded = audience.get("exclude") or {}
    named = await segments.conditions(
        session, _uuids(audience, "", "segment_id"), now=as_of, prefix="named", by_person=by_page
    )
    left_out = await segments.conditions(
        session,
        _uuids(excluded, "segment_ids"),
        now=as_of,
        prefix="left_out",
        is_negated=True,
        by_person=by_page,
    )
    values = {
        "list_id": _uuid(audience.get("list_id")),
        "contact_ids": _uuids(audience, "contact_ids"),
        "exclude_list_ids": _uuids(excluded, "list_ids", "list_id"),
        "exclude_contact_ids": _uuids(excluded, "contact_ids"),
        "exclude_campaign_ids": _uuids(excluded, "campaign_ids"),
        "previously_contacted": settings.previously_contacted,
        "skip_landlines": settings.skip_landlines,
        "as_of": as_of,
    }
    for condition in (*named, *left_out):
        values |= condition.values
    await session.execute(PLAN_FOR_VALUES)
    return ResolvedAudience(
        conditions=AudienceConditions(
            named=" AND ".join(one.sql for one in named),
            left_out=" AND ".join(one.sql for one in left_out),
            exclusions=tuple(name for name in EXCLUSIONS if values[name]),
        ),
        values=values,
    )


def _uuid(value: str | None) -> UUID | None:
    return UUID(value) if value else None


def _uuids(source: dict[str, Any], many: str, one: str = "") -> list[UUID]:
    values = [*(source.get(many) or []), *([source[one]] if source.get(one) else [])]
    return [UUID(value) for value in values]


class WeighedVariant(Protocol):
    """A variant of a stored campaign or of a request, with its share of the people (its weight)."""

    @property
    def weight(self) -> int:
        """The share of the people that get the variant, in percent.

        It is 0 if ``for_known`` is True: such a variant goes to all people who were in touch with
        the company before, and to nobody else.
        """

    @property
    def for_known(self) -> bool:
        """True if the variant is only for people who were in touch with the company before.

        Only campaigns of the kind ``mixed`` have such a variant. In such a campaign, every person
        who was in touch before gets this variant.
        """


def variant_values(variants: Sequence[WeighedVariant]) -> dict[str, Any]:
    """Return the bind values of ``VARIANT_OF_PERSON``, the SQL that assigns variants to people.

    The variants must be in the order of their positions.
    """
    known = [position for position, variant in enumerate(variants) if variant.for_known]
    return {
        "thresholds": variant_thresholds([variant.weight for variant in variants]),
        "known_variant": known[0] if known else None,
    }


def variant_thresholds(weights: list[int]) -> list[int]:
    """Return the running sums of the variants' weights: [50, 30, 20] gives [50, 80].

    The last sum is left out.
    """
    return [sum(weights[: position + 1]) for position in range(len(weights) - 1)]
