"""The tree of rules once it is read: groups, and rules with values of known types."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


class Join(StrEnum):
    """How a group takes its members together."""

    ALL = "all"
    ANY = "any"
    NOT = "not"
    """Of one member: everybody whom it does not fit."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """So long before or after now."""

    seconds: int


@dataclass(frozen=True, kw_only=True)
class Membership:
    """What a membership of a campaign must be; None: whatever it is."""

    campaign_id: UUID
    step: int = 0
    statuses: tuple[str, ...] | None = None
    has_replied: bool | None = None


Scalar = str | bool | Decimal | date | datetime | UUID
Value = Scalar | Distance | Membership | tuple[Scalar, ...] | None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A field, how it is compared, and with what.

    Attributes:
        pointer: Where it stands in the filter, for problems and explanations.
        attribute: The name, of an attribute; else None.
        op: The positive operator: ``ne`` is ``eq`` with ``is_negated``.
        given: The operator as it was written, and ``given_value`` the value.
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
        """The field as it was written."""
        return self.field if self.attribute is None else f"{self.field}.{self.attribute}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rules and groups that are taken together."""

    pointer: str
    join: Join
    members: tuple["Node", ...]


Node = Rule | Group


def rules_of(node: Node) -> Iterator[Rule]:
    """Give the rules of a tree from left to right."""
    if isinstance(node, Rule):
        yield node
    else:
        for member in node.members:
            yield from rules_of(member)
