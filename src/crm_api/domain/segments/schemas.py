"""Segments in and out; ``language.py`` describes their rules."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, PlainValidator, StrictBool, field_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.contacts.schemas import ContactRead
from crm_api.domain.errors import FieldProblem
from crm_api.domain.fields import Name200
from crm_api.domain.schemas import Id, Instant, JsonObject, ReadModel, RequestModel
from crm_api.domain.segments.catalogue import Kind
from crm_api.domain.segments.explaining import Verdict
from crm_api.domain.segments.language import SegmentFilter
from crm_api.domain.segments.models import Segment

MOST_SAMPLES = 50


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Leave the rules to ``reading.py``, which knows a pointer for every fault."""
    return value


Filter = Annotated[Any, PlainValidator(_as_it_is, json_schema_input_type=SegmentFilter)]


class SegmentCreate(RequestModel):
    """A new segment."""

    name: Name200
    filter: Filter


class SegmentUpdate(RequestModel):
    """What changes; a field left out stays. The rules are replaced as a whole."""

    name: Name200 = ""
    filter: Filter = None

    @field_validator("name", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "Leave the field out instead of sending null.")
        return value


class SegmentPreview(RequestModel):
    """Rules that are not stored, and what to show of who fits them."""

    filter: Filter
    limit: int = Field(default=10, ge=0, le=MOST_SAMPLES, description="People in the sample.")
    count: StrictBool = Field(
        default=True, description="False leaves the count out, which takes longer than the sample."
    )


class MissingRead(ReadModel):
    """Something that the rules name and that is no more."""

    pointer: str
    code: str
    detail: str


class SegmentRead(ReadModel):
    """A segment."""

    id: Id
    name: str
    filter: JsonObject
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: Segment) -> Self:
        """Shape a segment."""
        return cls.model_validate(found)


class SegmentDetail(SegmentRead):
    """A segment, and what of its rules names a list or campaign that is no more."""

    missing: list[MissingRead]

    @classmethod
    def with_missing(cls, found: Segment, missing: list[FieldProblem]) -> Self:
        """Shape a segment."""
        return cls(
            id=found.id,
            name=found.name,
            filter=found.filter,
            created_at=found.created_at,
            updated_at=found.updated_at,
            missing=[MissingRead.model_validate(one) for one in missing],
        )


class SegmentCount(ReadModel):
    """How many fit a segment now."""

    count: int


class SegmentPreviewRead(ReadModel):
    """Who fits; ``count`` is null when it was not asked for."""

    count: int | None
    sample: list[ContactRead]


class FieldRead(ReadModel):
    """A field that a rule may name, for a query builder.

    Attributes:
        name: As a rule names it.
        label: For people.
        kind: What its values are.
        operators: What it takes.
        type: Of a custom field, what it holds; else null.
        choices: Of a custom field with choices, which; else empty.
    """

    name: str
    label: str
    kind: Kind
    operators: list[str]
    type: str | None
    choices: list[str]


class FieldsRead(ReadModel):
    """Every field that a rule may name; other attributes may be named as well."""

    data: list[FieldRead]


class NodeVerdict(ReadModel):
    """Whether one rule or group of a segment holds of a person.

    Attributes:
        pointer: Where it stands in ``filter``; empty for the whole.
        node: ``rule``, or how the group takes its members together.
        actual: Of a rule, what the person has now; null where there is nothing.
    """

    pointer: str
    node: str
    holds: bool
    field: str | None
    op: str | None
    value: Any
    actual: Any


class SegmentExplanation(ReadModel):
    """Why a person is in a segment, or is not.

    Attributes:
        nodes: Every rule and group, each group before its members.
    """

    segment_id: Id
    contact_id: Id
    is_in: bool
    nodes: list[NodeVerdict]

    @classmethod
    def of(cls, verdicts: list[Verdict], *, segment_id: UUID, contact_id: UUID) -> Self:
        """Shape an explanation."""
        return cls(
            segment_id=segment_id,
            contact_id=contact_id,
            is_in=verdicts[0].holds,
            nodes=[_node(verdict) for verdict in verdicts],
        )


def _node(verdict: Verdict) -> NodeVerdict:
    rule = verdict.rule
    return NodeVerdict(
        pointer=verdict.pointer,
        node="rule" if verdict.join is None else verdict.join.value,
        holds=verdict.holds,
        field=None if rule is None else rule.name,
        op=None if rule is None else rule.given,
        value=None if rule is None else rule.given_value,
        actual=verdict.actual,
    )
