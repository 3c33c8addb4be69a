"""The classes of a parsed filter: groups of rules, and rules with typed values."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


class Join(StrEnum):
    """How a group combines the rules and groups in it."""

    ALL = "all"
    ANY = "any"
    NOT = "not"
    """The group has one member, and matches the contacts that do not match this member."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """A duration in a segment rule, such as 30 days: the length of a period before or after now.

    Attributes:
        seconds: The duration in seconds.
    """

    seconds: int


@dataclass(frozen=True, kw_only=True)
class Membership:
    """The value of a segment rule that finds the recipients of one message of a campaign.

    Attributes:
        step: 0 for the first message, 1 for the first follow-up, and so on.
        statuses: Only recipients with one of these statuses. None means all.
        has_replied: True: only recipients who replied. False: only recipients who did not. None
            means all.
    """

    campaign_id: UUID
    step: int = 0
    statuses: tuple[str, ...] | None = None
    has_replied: bool | None = None


Scalar = str | bool | Decimal | date | datetime | UUID
Value = Scalar | Distance | Membership | tuple[Scalar, ...] | None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One comparison: a field, an operator and a value.

    Attributes:
        pointer: JSON pointer of the rule.
        attribute: The name of the attribute; None if the field is not an attribute.
        op: The operator without negation. For example, it is ``eq`` if the request has ``ne``.
        is_negated: True if the operator in the request is negated, such as ``ne``.
        given: The operator as written in the request.
        given_value: The value as written in the request.
        value: The value, converted to the type of the field.
    """

    pointer: str
    field: str
    attribute: str | None
    op: str
    is_negated: bool
    given: str
    given_value: Any
    value: Value

    @property
    def name(self) -> str:
        """The field's name in the request."""
        return self.field if self.attribute is None else f"{self.field}.{self.attribute}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """One or more rules and groups, and how they are combined.

    Attributes:
        join: ``all``: all members must match. ``any``: at least one member must match. ``not``: the
            group has one member, which must not match.
    """

    pointer: str
    join: Join
    members: tuple["Node", ...]


Node = Rule | Group


def rules_of(node: Node) -> Iterator[Rule]:
    """Yield the rules of a tree from left to right."""
    if isinstance(node, Rule):
        yield node
    else:
        for member in node.members:
            yield from rules_of(member)
