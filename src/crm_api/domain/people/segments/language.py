"""Describe the rules of segments for the OpenAPI document.

These models do not parse requests; ``parser.py`` does. The parser reports which rule is wrong, and
why. If a union of these models parsed a request, the error could say only that no model matches.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.domain.people.segments.catalogue import OPERATORS


class SegmentDistance(RequestModel):
    """The length of a period that ends or begins now, such as 30 days. Give exactly one unit.

    Attributes:
        hours: The length in hours.
        days: The length in days.
        weeks: The length in weeks.
    """

    hours: int | None = Field(default=None, ge=1)
    days: int | None = Field(default=None, ge=1)
    weeks: int | None = Field(default=None, ge=1)


class SegmentMembership(RequestModel):
    """Selects the recipients of one message (step) of a campaign.

    `status` and `replied` limit the selection only if they are given.

    Attributes:
        campaign_id: The id of the campaign.
        status: Only recipients with one of these statuses.
        replied: True: only recipients who replied; false: only recipients who did not.
    """

    campaign_id: UUID
    status: list[MembershipStatus] | None = None
    replied: bool | None = None
    step: int = Field(
        default=0, ge=0, description="The step of the campaign; 0 is the first message."
    )


class SegmentRule(RequestModel):
    """A rule: one comparison. `GET /v1/segments/fields` lists the fields and their operators.

    Attributes:
        op: The operator that compares the contact's value with `value`.
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

    field: str = Field(
        description="The name of a field, or `attributes.` followed by the name of an attribute."
    )
    op: Literal[*sorted({op for ops in OPERATORS.values() for op in ops})]  # type: ignore[valid-type]  # mypy does not support unpacked literals
    value: (
        str | float | bool | SegmentDistance | SegmentMembership | list[str] | list[float] | None
    ) = Field(
        default=None,
        description="The value to compare with; left out for `is_empty` and `is_not_empty`.",
    )


class SegmentAll(RequestModel):
    """A group that matches if all rules and groups in it match.

    Attributes:
        all: Rules and groups; all of them must match.
    """

    all: list["SegmentFilter"] = Field(min_length=1)


class SegmentAny(RequestModel):
    """A group that matches if at least one of the rules and groups in it matches.

    Attributes:
        any: Rules and groups; at least one of them must match.
    """

    any: list["SegmentFilter"] = Field(min_length=1)


class SegmentNot(RequestModel):
    """A group that matches if the one rule or group in it does not match.

    Attributes:
        not: The rule or group that must not match.
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
