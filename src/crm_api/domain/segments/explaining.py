"""Why somebody is in or out: each rule with what the person has, by the very conditions that count.

All rules are asked in one statement; the groups above them follow from these.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import FlagType
from crm_api.domain.schemas import format_instant
from crm_api.domain.segments import queries
from crm_api.domain.segments.catalogue import Kind
from crm_api.domain.segments.compiling import compile_rule, kind_of_rule
from crm_api.domain.segments.conditions import TALK_TIMES, flag_exists, membership_condition
from crm_api.domain.segments.making import Making
from crm_api.domain.segments.tree import Join, Membership, Node, Rule, rules_of


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a node holds of a person.

    Attributes:
        pointer: Where the node stands in the filter.
        actual: What the person has; None for a group.
    """

    pointer: str
    holds: bool
    join: Join | None = None
    rule: Rule | None = None
    actual: Any = None


async def explain(
    session: AsyncSession, node: Node, *, contact_id: UUID, now: datetime
) -> list[Verdict]:
    """Evaluate a tree for one person, from the root on, each group before its members."""
    rules = list(rules_of(node))
    making = Making(now=now, prefix="rule", by_person=True)
    columns: list[str] = []
    for place, rule in enumerate(rules):
        condition = compile_rule(making, rule, is_negated=rule.is_negated)
        columns.append(f"coalesce({condition}, false) AS holds_{place}")
        columns.append(f"({_actual(making, rule)}) AS actual_{place}")
    row = await queries.evaluate(
        session, contact_id=contact_id, columns=columns, values=making.values
    )
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public name begins so
    leaves = {
        rule.pointer: Verdict(
            pointer=rule.pointer,
            holds=found[f"holds_{place}"],
            rule=rule,
            actual=_shown(rule, found[f"actual_{place}"]),
        )
        for place, rule in enumerate(rules)
    }
    return list(_verdicts(node, leaves))


def _verdicts(node: Node, leaves: Mapping[str, Verdict]) -> Iterator[Verdict]:
    if isinstance(node, Rule):
        yield leaves[node.pointer]
        return
    below = [list(_verdicts(member, leaves)) for member in node.members]
    held = [verdicts[0].holds for verdicts in below]
    holds = {Join.ALL: all(held), Join.ANY: any(held), Join.NOT: not held[0]}[node.join]
    yield Verdict(pointer=node.pointer, holds=holds, join=node.join)
    for verdicts in below:
        yield from verdicts


_LISTS = """
    SELECT jsonb_agg(jsonb_build_object('id', n.id, 'name', n.name) ORDER BY n.name)
    FROM contact_list_member l JOIN contact_list n ON n.id = l.list_id WHERE l.contact_id = c.id
"""
_FLAGS = """
    SELECT array_agg(f.flag_type ORDER BY f.flag_type) FROM contact_flag f
    WHERE f.phone = c.phone AND (f.expires_at IS NULL OR f.expires_at > {now})
"""
_TALKED = """
    SELECT max(k.{column}) FROM conversation k WHERE k.contact_id = c.id
"""
_MEMBERSHIP = """
    SELECT jsonb_build_object('status', m.status, 'replied', m.replied_at IS NOT NULL)
    FROM campaign_membership m WHERE {condition}
"""


def _actual(making: Making, rule: Rule) -> str:
    """Return an expression for what the person has."""
    kind = kind_of_rule(rule)
    actual = f"c.{rule.field}"
    if kind is Kind.ATTRIBUTE:
        actual = f"c.attributes -> {making.bind(rule.attribute, 'text')}"
    elif kind is Kind.CONTACT_INSTANT:
        actual = _TALKED.format(column=TALK_TIMES[rule.field])
    elif kind is Kind.LISTS:
        actual = _LISTS
    elif kind is Kind.FLAGS:
        actual = _FLAGS.format(now=making.bind(making.now, "timestamptz"))
    elif kind is Kind.BOOLEAN:
        actual = flag_exists(making, f" AND f.flag_type = '{FlagType.OPTED_OUT}'")
    elif isinstance(rule.value, Membership):
        actual = _MEMBERSHIP.format(condition=membership_condition(making, rule.value))
    return actual


def _shown(rule: Rule, actual: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(actual, datetime):
        return format_instant(actual)
    if actual is None and kind_of_rule(rule) in {Kind.LISTS, Kind.FLAGS}:
        return []
    return actual
