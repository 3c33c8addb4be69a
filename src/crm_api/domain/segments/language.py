"""The rules as OpenAPI shows them; they are read by ``reading.py``, fault by fault.

Nothing is parsed with these models: of a union pydantic could only say that no branch fits.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from crm_api.domain.campaigns.models import MembershipStatus
from crm_api.domain.schemas import RequestModel
from crm_api.domain.segments.catalogue import OPERATORS


class SegmentDistance(RequestModel):
    """So long before or after now; exactly one unit."""

    hours: int | None = Field(default=None, ge=1)
    days: int | None = Field(default=None, ge=1)
    weeks: int | None = Field(default=None, ge=1)


class SegmentMembership(RequestModel):
    """A recipient of a campaign; what is left out is not asked."""

    campaign_id: UUID
    status: list[MembershipStatus] | None = None
    replied: bool | None = None
    step: int = Field(default=0, ge=0, description="0 is the first text.")


class SegmentRule(RequestModel):
    """One comparison. `GET /v1/segments/fields` lists fields and the operators of each."""

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

    field: str = Field(description="A field's name, or `attributes.` and an attribute's.")
    op: Literal[*sorted({op for ops in OPERATORS.values() for op in ops})]  # type: ignore[valid-type]  # mypy knows no unpacked literals
    value: (
        str | float | bool | SegmentDistance | SegmentMembership | list[str] | list[float] | None
    ) = Field(default=None, description="Left out for `is_empty` and `is_not_empty`.")


class SegmentAll(RequestModel):
    """Everything in it must hold."""

    all: list["SegmentFilter"] = Field(min_length=1)


class SegmentAny(RequestModel):
    """Something in it must hold."""

    any: list["SegmentFilter"] = Field(min_length=1)


class SegmentNot(RequestModel):
    """What is in it must not hold."""

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
"""Of a filter."""
