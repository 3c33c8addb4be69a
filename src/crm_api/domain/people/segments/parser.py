"""Parse the filter of a segment, and check that the lists and campaigns that it names exist.

A rule is ``{"field": "state", "op": "eq", "value": "MA"}``. A group is ``{"all": […]}`` or
``{"any": […]}``. ``{"not": …}`` negates a rule or a group. Each problem has a JSON pointer into the
request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.kit.errors import FieldProblem, pointer_to
from crm_api.domain.people.contacts.schemas import MAX_ATTRIBUTE_NAME
from crm_api.domain.people.models.lists import ContactList
from crm_api.domain.people.segments.catalogue import (
    ATTRIBUTE_PREFIX,
    OPERATORS,
    POSITIVES,
    SegmentFieldKind,
    kind_of,
)
from crm_api.domain.people.segments.errors import InvalidFilterError
from crm_api.domain.people.segments.tree import Group, Join, Membership, Node, Rule, rules_of
from crm_api.domain.people.segments.values import BadValueError, read_value
from crm_api.platform.database import UnitOfWork

DEEPEST = 10
"""Largest number of levels of groups, including the level of the innermost rules."""
MOST_RULES = 100
MOST_VALUES = 1_000
"""Largest number of values in all rules of a filter together."""
MOST_FAULTS = 20
"""Largest number of faults in a response."""
_JOINS = tuple(Join)
_OF_A_RULE = frozenset({"field", "op", "value"})


def read_filter(given: Any, *, pointer: str = "/filter") -> Node:  # noqa: ANN401 - JSON
    """Parse a tree of rules; each rule gets a typed value.

    Args:
        given: The parsed JSON.
        pointer: The JSON pointer of ``given`` in the request.

    Raises:
        InvalidFilterError: The filter has an unknown field, an operator that the field does not
            accept, a value of the wrong type, too many levels, or too many rules.
    """
    reading = _Reading()
    node = reading.node(given, pointer, depth=1)
    if reading.rules > MOST_RULES:
        reading.fault(
            pointer, "too_many_rules", f"A filter has at most {MOST_RULES} rules; remove some."
        )
    if reading.values > MOST_VALUES:
        detail = f"All rules of a filter together have at most {MOST_VALUES} values; remove some."
        reading.fault(pointer, "too_many_values", detail)
    if node is None or reading.faults:
        raise InvalidFilterError(reading.faults[:MOST_FAULTS])
    return node


@dataclass
class _Reading:
    """A filter that is being parsed: its faults, and how many rules and values it has so far.

    The methods that parse a rule or a group return None if the rule or group has a fault.
    """

    faults: list[FieldProblem] = field(default_factory=list)
    rules: int = 0
    values: int = 0

    def fault(self, pointer: str, code: str, detail: str) -> None:
        self.faults.append(FieldProblem(pointer=pointer, code=code, detail=detail))

    def node(self, given: Any, pointer: str, *, depth: int) -> Node | None:  # noqa: ANN401 - JSON
        if self.rules > MOST_RULES or len(self.faults) >= MOST_FAULTS:
            return None
        if depth > DEEPEST:
            detail = f"Groups may be nested at most {DEEPEST} levels deep; use fewer levels."
            self.fault(pointer, "too_deep", detail)
        elif not isinstance(given, Mapping):
            self.fault(pointer, "wrong_type", "Give a rule or a group as a JSON object.")
        elif "field" in given:
            return self._rule(given, pointer)
        else:
            return self._group(given, pointer, depth=depth)
        return None

    def _group(self, given: Mapping[str, Any], pointer: str, *, depth: int) -> Node | None:
        found = [join for join in _JOINS if join in given]
        if len(found) != 1 or len(given) != 1:
            detail = (
                'Give either a rule with "field", "op" and "value", or a group with exactly one '
                'of "all", "any" and "not".'
            )
            self.fault(pointer, "no_rule_nor_group", detail)
            return None
        join, inside = found[0], given[found[0]]
        at = f"{pointer}/{join}"
        if join is Join.NOT:
            member = self.node(inside, at, depth=depth + 1)
            return None if member is None else Group(pointer=pointer, join=join, members=(member,))
        if not isinstance(inside, list):
            self.fault(at, "wrong_type", "Give a list of rules and groups.")
            return None
        if not inside:
            detail = "A group without rules would match all contacts or no contact; add a rule."
            self.fault(at, "empty_group", detail)
            return None
        if len(inside) > MOST_RULES:
            self.fault(
                at, "too_many_rules", f"A filter has at most {MOST_RULES} rules; remove some."
            )
            return None
        members = [
            self.node(one, f"{at}/{index}", depth=depth + 1) for index, one in enumerate(inside)
        ]
        read = tuple(member for member in members if member is not None)
        return (
            Group(pointer=pointer, join=join, members=read) if len(read) == len(members) else None
        )

    def _rule(self, given: Mapping[str, Any], pointer: str) -> Rule | None:
        self.rules += 1
        for name in given.keys() - _OF_A_RULE:
            self.fault(
                pointer + pointer_to([name]),
                "unknown_member",
                "A rule has only field, op and value; remove this.",
            )
        name = given["field"]
        kind = kind_of(name) if isinstance(name, str) and name.isprintable() else None
        if kind is None or len(name) > len(ATTRIBUTE_PREFIX) + MAX_ATTRIBUTE_NAME:
            detail = "No field has this name. GET /v1/segments/fields lists the fields."
            self.fault(f"{pointer}/field", "unknown_field", detail)
            return None
        op = given.get("op")
        if op not in OPERATORS[kind]:
            detail = f"The field {name} accepts these operators: {', '.join(OPERATORS[kind])}."
            self.fault(f"{pointer}/op", "wrong_operator", detail)
            return None
        positive = POSITIVES.get(op, op)
        try:
            value = read_value(kind, positive, given.get("value"))
        except BadValueError as error:
            self.fault(f"{pointer}/value{error.within}", error.code, error.detail)
            return None
        self.values += len(value) if isinstance(value, tuple) else 1
        return Rule(
            pointer=pointer,
            field=ATTRIBUTE_PREFIX.rstrip(".") if kind is SegmentFieldKind.ATTRIBUTE else name,
            attribute=name.removeprefix(ATTRIBUTE_PREFIX)
            if kind is SegmentFieldKind.ATTRIBUTE
            else None,
            op=positive,
            is_negated=positive != op,
            given=op,
            given_value=given.get("value"),
            value=value,
        )


async def read_with_references(uow: UnitOfWork, given: Any) -> Node:  # noqa: ANN401 - JSON
    """Parse a filter and check that the lists and campaigns that it names exist.

    Raises:
        InvalidFilterError: The rules are not valid, or name a list or campaign that does not exist.
    """
    node = read_filter(given)
    lost = await lost_references(uow, node)
    if lost:
        raise InvalidFilterError(lost)
    return node


KNOWN_CAMPAIGNS = text("SELECT c.id FROM campaign c WHERE c.id = ANY(CAST(:ids AS uuid[]))")


async def lost_references(uow: UnitOfWork, node: Node) -> list[FieldProblem]:
    """Return a problem for each list or campaign that the rules name but that does not exist."""
    lists, campaigns = _lists_of(node), _campaigns_of(node)
    problems = []
    if lists:
        statement = select(ContactList.id).where(ContactList.id.in_(list(set(lists.values()))))
        known = set(await uow.session.scalars(statement))
        problems += [
            FieldProblem(
                pointer=pointer,
                code="unknown_list",
                detail="No list has this id. GET /v1/lists returns all lists.",
            )
            for pointer, list_id in lists.items()
            if list_id not in known
        ]
    if campaigns:
        ids = list(set(campaigns.values()))
        known = set(await uow.session.scalars(KNOWN_CAMPAIGNS, {"ids": ids}))
        problems += [
            FieldProblem(
                pointer=pointer,
                code="unknown_campaign",
                detail="No campaign has this id. GET /v1/campaigns lists the campaigns.",
            )
            for pointer, campaign_id in campaigns.items()
            if campaign_id not in known
        ]
    return problems


def _lists_of(node: Node) -> dict[str, UUID]:
    found: dict[str, UUID] = {}
    for rule in rules_of(node):
        if rule.field != "lists" or rule.value is None:
            continue
        if isinstance(rule.value, tuple):
            for index, value in enumerate(rule.value):
                if isinstance(value, UUID):
                    found[f"{rule.pointer}/value/{index}"] = value
        elif isinstance(rule.value, UUID):
            found[f"{rule.pointer}/value"] = rule.value
    return found


def _campaigns_of(node: Node) -> dict[str, UUID]:
    return {
        f"{rule.pointer}/value/campaign_id": rule.value.campaign_id
        for rule in rules_of(node)
        if isinstance(rule.value, Membership)
    }
