"""Compile a tree of rules to an SQL condition; every value and attribute name is a bind value.

If a contact has no value for a rule, the rule is false and the negated rule is true. The SQL of
some rules is NULL in this case; these rules are negated with ``IS NOT TRUE``. A group is negated
without a NOT before the group: each of its rules is negated, and AND and OR are exchanged. The
reason: PostgreSQL makes better plans for AND and OR.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_api.domain.people.segments.catalogue import FIELDS, SegmentFieldKind
from crm_api.domain.people.segments.condition_builder import ConditionBuilder
from crm_api.domain.people.segments.conditions import CONDITIONS
from crm_api.domain.people.segments.tree import Group, Join, Node, Rule

MAYBE_UNKNOWN = frozenset({SegmentFieldKind.TEXT, SegmentFieldKind.ATTRIBUTE})
"""Kinds of fields whose SQL condition is NULL for a contact without a value."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A tree of rules as an SQL condition on ``contact c``; deleted contacts may match too.

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
    """Compile a tree of rules to an SQL condition.

    Args:
        node: The tree.
        now: The end of periods such as "the last 30 days". Flags that have expired do not count.
        prefix: Beginning of the names of the bind values; different for each condition of a
            statement.
        is_negated: True: match the contacts that the tree does not match.
        by_person: True: query other tables once per contact. Use this in a statement that reads a
            page of contacts. Otherwise PostgreSQL may join the tables.
    """
    builder = ConditionBuilder(now=now, prefix=prefix, by_person=by_person)
    sql = _node(builder, node, is_negated=is_negated)
    return Condition(sql=sql, values=builder.values)


def compile_rule(builder: ConditionBuilder, rule: Rule, *, is_negated: bool) -> str:
    """Compile one rule to an SQL condition.

    Args:
        builder: Collects the bind values.
        rule: The rule; its operator is never a negated operator such as ``ne``.
        is_negated: True: match the contacts that the rule does not match.
    """
    kind = kind_of_rule(rule)
    sql = CONDITIONS[kind](builder, rule)
    if not is_negated:
        return f"({sql})"
    return f"({sql}) IS NOT TRUE" if kind in MAYBE_UNKNOWN else f"NOT ({sql})"


def kind_of_rule(rule: Rule) -> SegmentFieldKind:
    """Return the kind of the field that a rule compares."""
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
