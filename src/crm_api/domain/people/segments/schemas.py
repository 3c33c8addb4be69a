"""Request and response models of segments; ``language.py`` describes their rules."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, PlainValidator, StrictBool, field_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, JsonObject, ReadModel, RequestModel
from crm_api.domain.people.contacts.schemas import ContactRead
from crm_api.domain.people.models.segments import Segment
from crm_api.domain.people.segments.catalogue import SegmentFieldKind
from crm_api.domain.people.segments.explanation import RuleVerdict
from crm_api.domain.people.segments.language import SegmentFilter

MOST_SAMPLES = 50


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the rules unchanged; ``parser.py`` checks them, with a pointer for every fault."""
    return value


Filter = Annotated[Any, PlainValidator(_as_it_is, json_schema_input_type=SegmentFilter)]


class SegmentCreate(RequestModel):
    """A new segment."""

    model_config = example(
        name="Homeowners in Quincy",
        filter={"all": [{"field": "city", "op": "eq", "value": "Quincy"}]},
    )

    name: Name200
    filter: Filter


class SegmentUpdate(RequestModel):
    """The fields to change; a field left out stays. The rules are replaced as a whole."""

    model_config = example(name="Owners in Quincy, old houses")

    name: Name200 = ""
    filter: Filter = None

    @field_validator("name", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "Leave the field out instead of sending null.")
        return value


class SegmentPreview(RequestModel):
    """Rules that are not stored, and what to return about the contacts that match."""

    model_config = example(
        filter={"all": [{"field": "city", "op": "eq", "value": "Quincy"}]}, limit=5
    )

    filter: Filter
    limit: int = Field(default=10, ge=0, le=MOST_SAMPLES, description="Contacts in the sample.")
    count: StrictBool = Field(
        default=True, description="False omits the count, which takes longer than the sample."
    )


class MissingReferenceRead(ReadModel):
    """A list or campaign that the rules name and that was deleted.

    Attributes:
        pointer: A JSON pointer to the place of the fault.
    """

    pointer: str
    code: str
    detail: str


class SegmentRead(ReadModel):
    """A segment."""

    model_config = example(
        name="Homeowners in Quincy",
        filter={"all": [{"field": "city", "op": "eq", "value": "Quincy"}]},
    )

    id: Id
    name: str
    filter: JsonObject
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: Segment) -> Self:
        """Build the response from a segment."""
        return cls.model_validate(found)


class SegmentDetail(SegmentRead):
    """A segment, and the deleted lists and campaigns that its rules name.

    Attributes:
        missing: Lists and campaigns that the rules name and that no longer exist.
    """

    model_config = example(SegmentRead, missing=[])

    missing: list[MissingReferenceRead]

    @classmethod
    def with_missing(cls, found: Segment, missing: list[FieldProblem]) -> Self:
        """Build the response from a segment."""
        return cls(
            id=found.id,
            name=found.name,
            filter=found.filter,
            created_at=found.created_at,
            updated_at=found.updated_at,
            missing=[MissingReferenceRead.model_validate(one) for one in missing],
        )


class SegmentCount(ReadModel):
    """The number of contacts that match a segment now.

    Attributes:
        count: The number of contacts that match.
    """

    model_config = example(count=187)

    count: int


class SegmentPreviewRead(ReadModel):
    """The contacts that match; ``count`` is null if it was not requested.

    Attributes:
        count: The number of contacts that match; null if it was not requested.
        sample: Some of the contacts, as examples.
    """

    model_config = example(count=187)

    count: int | None
    sample: list[ContactRead]


class SegmentFieldRead(ReadModel):
    """A field that a rule may name, for a query builder.

    Attributes:
        name: The name to use in a rule.
        label: The name to show to users.
        kind: The kind of its values.
        operators: The operators that it accepts.
        type: The type of a custom field; null for other fields.
        choices: The choices of a custom field; empty for other fields.
    """

    model_config = example(
        name="city", label="City", operators=["eq", "ne", "in", "not_in"], type=None, choices=[]
    )

    name: str
    label: str
    kind: SegmentFieldKind
    operators: list[str]
    type: str | None
    choices: list[str]


class SegmentFieldsRead(ReadModel):
    """The fields that a rule may name; it may also name attributes that are not listed.

    Attributes:
        data: Every field that a rule may name.
    """

    data: list[SegmentFieldRead]


class SegmentNodeVerdict(ReadModel):
    """Whether one rule or group of a segment matches a contact.

    Attributes:
        pointer: JSON pointer to it in ``filter``; empty for the whole filter.
        node: ``rule``, or how the group combines its members.
        holds: Whether the rule or group matches the contact.
        field: The field that the rule compares; null for a group.
        op: The operator of the rule; null for a group.
        value: The value in the rule.
        actual: For a rule, the contact's value now; null if it has none.
    """

    model_config = example(
        pointer="/all/0",
        node="rule",
        holds=True,
        field="city",
        op="eq",
        value="Quincy",
        actual="Quincy",
    )

    pointer: str
    node: str
    holds: bool
    field: str | None
    op: str | None
    value: Any
    actual: Any


class SegmentExplanation(ReadModel):
    """Why a contact is in a segment, or is not.

    Attributes:
        is_in: Whether the contact is in the segment.
        nodes: Every rule and group, each group before its members.
    """

    model_config = example(is_in=True)

    segment_id: Id
    contact_id: Id
    is_in: bool
    nodes: list[SegmentNodeVerdict]

    @classmethod
    def of(cls, verdicts: list[RuleVerdict], *, segment_id: UUID, contact_id: UUID) -> Self:
        """Build the response from the verdicts; the first is that of the whole filter."""
        return cls(
            segment_id=segment_id,
            contact_id=contact_id,
            is_in=verdicts[0].holds,
            nodes=[_node(verdict) for verdict in verdicts],
        )


def _node(verdict: RuleVerdict) -> SegmentNodeVerdict:
    rule = verdict.rule
    return SegmentNodeVerdict(
        pointer=verdict.pointer,
        node="rule" if verdict.join is None else verdict.join.value,
        holds=verdict.holds,
        field=None if rule is None else rule.name,
        op=None if rule is None else rule.given,
        value=None if rule is None else rule.given_value,
        actual=verdict.actual,
    )
