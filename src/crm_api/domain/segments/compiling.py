"""Makes SQL of a tree of rules: constant text; every value and every name is a bind value.

A rule is true or false of each person, never unknown: where there is no value it does not hold,
and turned around it does. So NOT is carried down to the rules, and there ``IS NOT TRUE`` stands
for it where SQL might not know. Above them are only AND and OR, with which a planner can work.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_api.domain.segments.catalogue import FIELDS, Kind
from crm_api.domain.segments.conditions import CONDITIONS
from crm_api.domain.segments.making import Making
from crm_api.domain.segments.tree import Group, Join, Node, Rule

MAYBE_UNKNOWN = frozenset({Kind.TEXT, Kind.ATTRIBUTE})
"""Kinds whose conditions are NULL where there is no value."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What holds of the people of a tree, as SQL on ``contact c``; it asks nothing of deletion.

    Attributes:
        sql: Stands after WHERE or AND. NULL, too, means that somebody is out.
        values: The bind values that it names.
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
    """Make the condition of a tree.

    Args:
        node: The tree.
        now: What distances are counted from, and when flags end.
        prefix: Begins the names of bind values: two conditions of one statement have two.
        is_negated: Of everybody else.
        by_person: Each look-up in another table is a probe for one person, for a statement that
            goes through people page by page; else the planner may join.
    """
    making = Making(now=now, prefix=prefix, by_person=by_person)
    sql = _node(making, node, is_negated=is_negated)
    return Condition(sql=sql, values=making.values)


def compile_rule(making: Making, rule: Rule, *, is_negated: bool) -> str:
    """Make the condition of one rule.

    Args:
        making: Takes its values.
        rule: The rule, with its positive operator.
        is_negated: Whether its positive operator must not hold.
    """
    kind = kind_of_rule(rule)
    sql = CONDITIONS[kind](making, rule)
    if not is_negated:
        return f"({sql})"
    return f"({sql}) IS NOT TRUE" if kind in MAYBE_UNKNOWN else f"NOT ({sql})"


def kind_of_rule(rule: Rule) -> Kind:
    """Return what a rule's field is."""
    return FIELDS[rule.field] if rule.attribute is None else Kind.ATTRIBUTE


def _node(making: Making, node: Node, *, is_negated: bool) -> str:
    if isinstance(node, Rule):
        return compile_rule(making, node, is_negated=node.is_negated is not is_negated)
    if node.join is Join.NOT:
        return _node(making, node.members[0], is_negated=not is_negated)
    return _group(making, node, is_negated=is_negated)


def _group(making: Making, group: Group, *, is_negated: bool) -> str:
    members = [_node(making, member, is_negated=is_negated) for member in group.members]
    holds_together = (group.join is Join.ALL) is not is_negated
    return "(" + (" AND " if holds_together else " OR ").join(members) + ")"
