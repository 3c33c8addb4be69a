"""Reads a filter: a tree of rules in JSON, every fault with a pointer to it.

A rule is ``{"field": "state", "op": "eq", "value": "MA"}``; a group ``{"all": […]}`` or
``{"any": […]}``; ``{"not": …}`` turns one of either around.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_api.domain.contacts.schemas import MAX_ATTRIBUTE_NAME
from crm_api.domain.errors import FieldProblem
from crm_api.domain.segments.catalogue import (
    ATTRIBUTE_PREFIX,
    OPERATORS,
    POSITIVES,
    Kind,
    kind_of,
)
from crm_api.domain.segments.errors import InvalidFilterError
from crm_api.domain.segments.tree import Group, Join, Node, Rule
from crm_api.domain.segments.values import BadValueError, read_value

DEEPEST = 10
"""Groups within groups, the rules in the innermost counted too."""
MOST_RULES = 100
MOST_VALUES = 1_000
"""In all lists of a filter together."""
MOST_FAULTS = 20
"""Named in an answer; a thousand help nobody."""
_JOINS = tuple(Join)
_OF_A_RULE = frozenset({"field", "op", "value"})


def read_filter(given: Any, *, pointer: str = "/filter") -> Node:  # noqa: ANN401 - JSON
    """Read a tree of rules.

    Args:
        given: JSON as it was parsed.
        pointer: Where it stands in the request.

    Raises:
        InvalidFilterError: It has faults: an unknown field, an operator that the field does not
            take, a value of the wrong type, too deep, too many rules.
    """
    reading = _Reading()
    node = reading.node(given, pointer, depth=1)
    if reading.rules > MOST_RULES:
        reading.fault(pointer, "too_many_rules", f"A filter has at most {MOST_RULES} rules.")
    if reading.values > MOST_VALUES:
        reading.fault(pointer, "too_many_values", f"Its lists have at most {MOST_VALUES} values.")
    if node is None or reading.faults:
        raise InvalidFilterError(reading.faults[:MOST_FAULTS])
    return node


@dataclass
class _Reading:
    """What was met so far; a node with a fault is None."""

    faults: list[FieldProblem] = field(default_factory=list)
    rules: int = 0
    values: int = 0

    def fault(self, pointer: str, code: str, detail: str) -> None:
        self.faults.append(FieldProblem(pointer=pointer, code=code, detail=detail))

    def node(self, given: Any, pointer: str, *, depth: int) -> Node | None:  # noqa: ANN401 - JSON
        if self.rules > MOST_RULES or len(self.faults) >= MOST_FAULTS:
            return None
        if depth > DEEPEST:
            detail = f"Rules are nested at most {DEEPEST} deep; take groups apart."
            self.fault(pointer, "too_deep", detail)
        elif not isinstance(given, Mapping):
            self.fault(pointer, "wrong_type", "Give a rule or a group: an object.")
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
            detail = "A group without rules would be everybody, or nobody; add a rule."
            self.fault(at, "empty_group", detail)
            return None
        if len(inside) > MOST_RULES:
            self.fault(at, "too_many_rules", f"A filter has at most {MOST_RULES} rules.")
            return None
        members = [
            self.node(one, f"{at}/{place}", depth=depth + 1) for place, one in enumerate(inside)
        ]
        read = tuple(member for member in members if member is not None)
        return (
            Group(pointer=pointer, join=join, members=read) if len(read) == len(members) else None
        )

    def _rule(self, given: Mapping[str, Any], pointer: str) -> Rule | None:
        self.rules += 1
        for name in given.keys() - _OF_A_RULE:
            at = name.replace("~", "~0").replace("/", "~1")
            self.fault(f"{pointer}/{at}", "unknown_member", "A rule has field, op and value.")
        name = given["field"]
        kind = kind_of(name) if isinstance(name, str) and name.isprintable() else None
        if kind is None or len(name) > len(ATTRIBUTE_PREFIX) + MAX_ATTRIBUTE_NAME:
            detail = "There is no such field; GET /v1/segments/fields lists them."
            self.fault(f"{pointer}/field", "unknown_field", detail)
            return None
        op = given.get("op")
        if op not in OPERATORS[kind]:
            detail = f"{name} takes {', '.join(OPERATORS[kind])}."
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
            field=ATTRIBUTE_PREFIX.rstrip(".") if kind is Kind.ATTRIBUTE else name,
            attribute=name.removeprefix(ATTRIBUTE_PREFIX) if kind is Kind.ATTRIBUTE else None,
            op=positive,
            is_negated=positive != op,
            given=op,
            given_value=given.get("value"),
            value=value,
        )
