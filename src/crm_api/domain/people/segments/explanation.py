"""Explain why a contact is in a segment: evaluate each rule for this contact.

One statement evaluates all rules, with the same SQL that selects the contacts of the segment. The
result of a group is computed from the results of its rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import FlagType
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.people.segments.catalogue import SegmentFieldKind
from crm_api.domain.people.segments.compiler import compile_rule, kind_of_rule
from crm_api.domain.people.segments.condition_builder import ConditionBuilder
from crm_api.domain.people.segments.conditions import (
    CONVERSATION_TIMES,
    flag_exists,
    membership_condition,
)
from crm_api.domain.people.segments.engagement import grade_sql, last_class_sql, score_sql
from crm_api.domain.people.segments.tree import Join, Membership, Node, Rule, rules_of


@dataclass(frozen=True, kw_only=True)
class RuleVerdict:
    """Whether one rule or group of a segment matches a contact.

    Attributes:
        pointer: JSON pointer of the rule or group; it begins with ``/filter``.
        holds: True if the rule or group matches the contact.
        actual: The value that the contact has in the field of the rule; None for a group.
    """

    pointer: str
    holds: bool
    join: Join | None = None
    rule: Rule | None = None
    actual: Any = None


async def explain_rules(
    session: AsyncSession, node: Node, *, contact_id: UUID, now: datetime
) -> list[RuleVerdict]:
    """Evaluate a tree of rules for one contact, and return a verdict for each rule and group.

    The verdict of a group comes before the verdicts of the rules and groups in it. The contact must
    exist.
    """
    rules = list(rules_of(node))
    builder = ConditionBuilder(now=now, prefix="rule", by_person=True)
    columns: list[str] = []
    for index, rule in enumerate(rules):
        condition = compile_rule(builder, rule, is_negated=rule.is_negated)
        columns.append(f"coalesce({condition}, false) AS holds_{index}")
        columns.append(f"({_actual(builder, rule)}) AS actual_{index}")
    statement = f"SELECT {', '.join(columns)} FROM contact c WHERE c.id = :contact_id"
    values = {**builder.values, "contact_id": contact_id}
    found = (await session.execute(text(statement), values)).mappings().one()
    leaves = {
        rule.pointer: RuleVerdict(
            pointer=rule.pointer,
            holds=found[f"holds_{index}"],
            rule=rule,
            actual=_shown(rule, found[f"actual_{index}"]),
        )
        for index, rule in enumerate(rules)
    }
    return list(_verdicts(node, leaves))


def _verdicts(node: Node, leaves: Mapping[str, RuleVerdict]) -> Iterator[RuleVerdict]:
    if isinstance(node, Rule):
        yield leaves[node.pointer]
        return
    below = [list(_verdicts(member, leaves)) for member in node.members]
    held = [verdicts[0].holds for verdicts in below]
    holds = {Join.ALL: all(held), Join.ANY: any(held), Join.NOT: not held[0]}[node.join]
    yield RuleVerdict(pointer=node.pointer, holds=holds, join=node.join)
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
_CONVERSATION = """
    SELECT max(k.{column}) FROM conversation k WHERE k.contact_id = c.id
"""
_MEMBERSHIP = """
    SELECT jsonb_build_object('status', m.status, 'replied', m.replied_at IS NOT NULL)
    FROM campaign_membership m WHERE {condition}
"""


def _actual(builder: ConditionBuilder, rule: Rule) -> str:
    """Return an SQL expression for the value that the contact has in the field of the rule."""
    kind = kind_of_rule(rule)
    actual = f"c.{rule.field}"
    if kind is SegmentFieldKind.ATTRIBUTE:
        actual = f"c.attributes -> {builder.bind(rule.attribute, 'text')}"
    elif kind is SegmentFieldKind.CONTACT_INSTANT:
        actual = _CONVERSATION.format(column=CONVERSATION_TIMES[rule.field])
    elif kind is SegmentFieldKind.LISTS:
        actual = _LISTS
    elif kind is SegmentFieldKind.FLAGS:
        actual = _FLAGS.format(now=builder.bind(builder.now, "timestamptz"))
    elif kind is SegmentFieldKind.BOOLEAN:
        actual = flag_exists(builder, f" AND f.flag_type = '{FlagType.OPTED_OUT}'")
    elif kind is SegmentFieldKind.NUMBER:
        actual = score_sql(builder)
    elif kind is SegmentFieldKind.GRADE:
        actual = grade_sql(builder)
    elif kind is SegmentFieldKind.REPLY_CLASS:
        actual = last_class_sql(builder)
    elif isinstance(rule.value, Membership):
        actual = _MEMBERSHIP.format(condition=membership_condition(builder, rule.value))
    return actual


def _shown(rule: Rule, actual: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(actual, datetime):
        return format_instant(actual)
    if actual is None and kind_of_rule(rule) in {SegmentFieldKind.LISTS, SegmentFieldKind.FLAGS}:
        return []
    return actual
