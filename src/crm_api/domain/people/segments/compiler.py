"""Compile a tree of rules to constant SQL; every value and every name is a bind value.

A rule is true or false for each contact, never unknown. Without a value it is false, and its
negation is true. So NOT is moved down to the rules, and becomes ``IS NOT TRUE`` where the SQL may
be NULL. Above the rules there are only AND and OR, which the planner handles well.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_api.domain.people.segments.catalogue import FIELDS, SegmentFieldKind
from crm_api.domain.people.segments.condition_builder import ConditionBuilder
from crm_api.domain.people.segments.conditions import CONDITIONS
from crm_api.domain.people.segments.tree import Group, Join, Node, Rule

MAYBE_UNKNOWN = frozenset({SegmentFieldKind.TEXT, SegmentFieldKind.ATTRIBUTE})
"""Kinds whose conditions are NULL if there is no value."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A tree as an SQL condition on ``contact c``; it does not exclude deleted contacts.

    Attributes:
        sql: The expression after WHERE or AND. NULL means that the contact does not match.
        values: The bind values by name.
    """

    sql: str
    values: dict[str, Any]


def compile_filter(
    node: Node,
    *,
    now: datetime,
    prefix: str = "rule",
    is_negated: bool = False,
    by_person: bool = False,
) -> Condition:
    """Compile a tree to a condition.

    Args:
        node: The tree.
        now: Relative times are counted from this, and flags must not have expired at it.
        prefix: Beginning of the names of the bind values; must differ within one statement.
        is_negated: Match all other contacts.
        by_person: Make each look-up in another table a probe for one contact, for a statement that
            reads contacts by page; else the planner may join.
    """
    builder = ConditionBuilder(now=now, prefix=prefix, by_person=by_person)
    sql = _node(builder, node, is_negated=is_negated)
    return Condition(sql=sql, values=builder.values)


def compile_rule(builder: ConditionBuilder, rule: Rule, *, is_negated: bool) -> str:
    """Compile one rule to a condition.

    Args:
        builder: Collects its bind values.
        rule: The rule, with its positive operator.
        is_negated: Negate the positive operator.
    """
    kind = kind_of_rule(rule)
    sql = CONDITIONS[kind](builder, rule)
    if not is_negated:
        return f"({sql})"
    return f"({sql}) IS NOT TRUE" if kind in MAYBE_UNKNOWN else f"NOT ({sql})"


def kind_of_rule(rule: Rule) -> SegmentFieldKind:
    """Return the kind of a rule's field."""
    return FIELDS[rule.field] if rule.attribute is None else SegmentFieldKind.ATTRIBUTE


def _node(builder: ConditionBuilder, node: Node, *, is_negated: bool) -> str:
    if isinstance(node, Rule):
        return compile_rule(builder, node, is_negated=node.is_negated is not is_negated)
    if node.join is Join.NOT:
        return _node(builder, node.members[0], is_negated=not is_negated)
    return _group(builder, node, is_negated=is_negated)


def _group(builder: ConditionBuilder, group: Group, *, is_negated: bool) -> str:
    members = [_node(builder, member, is_negated=is_negated) for member in group.members]
    holds_together = (group.join is Join.ALL) is not is_negated
    return "(" + (" AND " if holds_together else " OR ").join(members) + ")"
