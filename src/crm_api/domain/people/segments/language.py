"""The rules as OpenAPI shows them.

``parser.py`` parses the rules, because these models could only report that no branch of the union
matches.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.domain.people.segments.catalogue import OPERATORS


class SegmentDistance(RequestModel):
    """A period before or after now, in exactly one unit.

    Attributes:
        hours: The distance in hours.
        days: The distance in days.
        weeks: The distance in weeks.
    """

    hours: int | None = Field(default=None, ge=1)
    days: int | None = Field(default=None, ge=1)
    weeks: int | None = Field(default=None, ge=1)


class SegmentMembership(RequestModel):
    """A recipient of a campaign; a member left out accepts every value.

    Attributes:
        replied: Whether the person replied.
    """

    campaign_id: UUID
    status: list[MembershipStatus] | None = None
    replied: bool | None = None
    step: int = Field(default=0, ge=0, description="0 is the first message.")


class SegmentRule(RequestModel):
    """One comparison. `GET /v1/segments/fields` lists fields and the operators of each.

    Attributes:
        op: The operator.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"field": "state", "op": "in", "value": ["MA", "NH"]},
                {"field": "tags", "op": "contains", "value": "vip"},
                {"field": "attributes.year_built", "op": "lt", "value": 1960},
                {"field": "last_contacted_at", "op": "not_within_last", "value": {"days": 30}},
            ]
        }
    )

    field: str = Field(description="A field's name, or `attributes.` and an attribute's name.")
    op: Literal[*sorted({op for ops in OPERATORS.values() for op in ops})]  # type: ignore[valid-type]  # mypy does not support unpacked literals
    value: (
        str | float | bool | SegmentDistance | SegmentMembership | list[str] | list[float] | None
    ) = Field(default=None, description="Left out for `is_empty` and `is_not_empty`.")


class SegmentAll(RequestModel):
    """A group whose members must all match.

    Attributes:
        all: All of these rules must match.
    """

    all: list["SegmentFilter"] = Field(min_length=1)


class SegmentAny(RequestModel):
    """A group; at least one member must match.

    Attributes:
        any: At least one of these rules must match.
    """

    any: list["SegmentFilter"] = Field(min_length=1)


class SegmentNot(RequestModel):
    """A group whose member must not match.

    Attributes:
        not: This rule must not match.
    """

    not_: "SegmentFilter" = Field(alias="not")


SegmentFilter = SegmentRule | SegmentAll | SegmentAny | SegmentNot
SegmentAll.model_rebuild()
SegmentAny.model_rebuild()
SegmentNot.model_rebuild()
EXAMPLE: dict[str, Any] = {
    "all": [
        {"field": "state", "op": "eq", "value": "MA"},
        {"field": "last_contacted_at", "op": "not_within_last", "value": {"days": 30}},
        {"not": {"field": "tags", "op": "contains_any", "value": ["customer", "do-not-text"]}},
    ]
}
"""An example of a filter."""
