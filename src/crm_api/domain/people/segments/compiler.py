"""Compile a tree of rules to an SQL condition; every value and attribute name is a bind value.

If a contact has no value in a field, a rule on the field does not match, and the negated rule does.
(For ``is_empty``, it is the opposite.) The SQL condition of the rule may be NULL for such a
contact. Therefore, such a condition is negated with ``IS NOT TRUE`` instead of NOT.

A group is negated by negating each of its members. PostgreSQL plans the result better than a NOT
before the group.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.people.models.lists import Segment
from crm_api.domain.people.segments.catalogue import FIELDS, SegmentFieldKind
from crm_api.domain.people.segments.condition_builder import ConditionBuilder
from crm_api.domain.people.segments.conditions import CONDITIONS
from crm_api.domain.people.segments.errors import SegmentNotFoundError
from crm_api.domain.people.segments.parser import lost_references, read_filter
from crm_api.domain.people.segments.tree import Group, Join, Node, Rule
from crm_api.platform.database import UnitOfWork

MAYBE_UNKNOWN = frozenset({SegmentFieldKind.TEXT, SegmentFieldKind.ATTRIBUTE})
"""The kinds of fields for which a contact may have no value. For such a contact, the SQL condition
of a rule on the field is NULL."""


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
        now: The end of periods such as "the last 30 days". Flags that expired earlier are ignored.
        prefix: Begins the names of the bind values. It must be unique in a statement.
        is_negated: True: match the contacts that the tree does not match.
        by_person: True: PostgreSQL queries other tables separately for each contact. Use this to
            read one page. False: joins are allowed.
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
    """Return the kind of the field that a rule compares, such as ``text`` or ``tags``."""
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


async def conditions(
    session: AsyncSession,
    segment_ids: Collection[UUID],
    *,
    now: datetime,
    prefix: str,
    is_negated: bool = False,
    by_person: bool = False,
) -> list[Condition]:
    """Compile stored segments to SQL conditions on ``contact c``, for use in another statement.

    The segments are locked against changes until the transaction ends. For the arguments, see
    ``compile_filter``.

    Raises:
        SegmentNotFoundError: One of the segments does not exist.
    """
    found = await lock_segments(session, segment_ids=segment_ids) if segment_ids else []
    if len(found) < len(set(segment_ids)):
        raise SegmentNotFoundError(
            "A segment of the audience was deleted. Choose another audience."
        )
    return [
        compile_filter(
            read_filter(segment.filter),
            now=now,
            prefix=f"{prefix}_{index}",
            is_negated=is_negated,
            by_person=by_person,
        )
        for index, segment in enumerate(found)
    ]


async def faults_of(uow: UnitOfWork, named: Mapping[str, UUID]) -> list[FieldProblem]:
    """Return the problems of the segments that a campaign names.

    A segment has a problem if it does not exist, or if its rules name a deleted list or campaign.
    The segments are locked against changes until the transaction ends.

    Args:
        named: The id of each segment, by the JSON pointer of the field that contains the id.
    """
    if not named:
        return []
    found = await lock_segments(uow.session, segment_ids=set(named.values()))
    known = {segment.id: segment for segment in found}
    problems = []
    for pointer, segment_id in named.items():
        if segment_id not in known:
            detail = "No segment has this id. GET /v1/segments lists the segments."
            problems.append(FieldProblem(pointer=pointer, code="unknown_segment", detail=detail))
        elif lost := await lost_references(uow, read_filter(known[segment_id].filter)):
            detail = (
                f"A rule of the segment {known[segment_id].name!r} is not valid: {lost[0].detail}"
            )
            problems.append(FieldProblem(pointer=pointer, code="broken_segment", detail=detail))
    return problems


async def lock_segments(
    session: AsyncSession, *, segment_ids: Collection[UUID]
) -> Sequence[Segment]:
    """Fetch segments in the order of their ids; lock them until the transaction ends."""
    statement = (
        select(Segment)
        .where(Segment.id.in_(list(segment_ids)))
        .order_by(Segment.id)
        .with_for_update(read=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()
