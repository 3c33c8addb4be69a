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
from crm_api.domain.people.models.lists import Segment
from crm_api.domain.people.segments.catalogue import SegmentFieldRead
from crm_api.domain.people.segments.explanation import RuleVerdict
from crm_api.domain.people.segments.language import SegmentFilter

MOST_SAMPLES = 50


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the rules unchanged; ``parser.py`` checks them later and reports every fault."""
    return value


Filter = Annotated[Any, PlainValidator(_as_it_is, json_schema_input_type=SegmentFilter)]


class SegmentCreate(RequestModel):
    """A new segment: a name, and the rules that select its contacts."""

    model_config = example(
        name="Homeowners in Quincy",
        filter={"all": [{"field": "city", "op": "eq", "value": "Quincy"}]},
    )

    name: Name200
    filter: Filter


class SegmentUpdate(RequestModel):
    """The fields of a segment to change. A field that is left out keeps its value.

    A new ``filter`` replaces all rules of the segment.
    """

    model_config = example(name="Owners in Quincy, old houses")

    name: Name200 = ""
    filter: Filter = None

    @field_validator("name", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "Leave this field out; null is not allowed.")
        return value


class SegmentPreview(RequestModel):
    """Rules to try without storing them, and how many of the matching contacts to return."""

    model_config = example(
        filter={"all": [{"field": "city", "op": "eq", "value": "Quincy"}]}, limit=5
    )

    filter: Filter
    limit: int = Field(
        default=10, ge=0, le=MOST_SAMPLES, description="The largest number of contacts in `sample`."
    )
    count: StrictBool = Field(
        default=True, description="False: leave out the count, which takes longer than the sample."
    )


class MissingReferenceRead(ReadModel):
    """A reference in the rules to a list or a campaign that was deleted.

    Attributes:
        pointer: JSON pointer to the id of the list or campaign in the rules.
    """

    pointer: str
    code: str
    detail: str


class SegmentRead(ReadModel):
    """A segment: a name, and the rules that select its contacts."""

    model_config = example(
        name="Homeowners in Quincy",
        filter={"all": [{"field": "city", "op": "eq", "value": "Quincy"}]},
    )

    id: Id
    name: str
    filter: JsonObject
    created_at: Instant
    updated_at: Instant


class SegmentDetail(SegmentRead):
    """A segment, and the deleted lists and campaigns that its rules still name.

    Attributes:
        missing: The deleted lists and campaigns that the rules still name.
    """

    model_config = example(SegmentRead, missing=[])

    missing: list[MissingReferenceRead]

    @classmethod
    def with_missing(cls, found: Segment, missing: list[FieldProblem]) -> Self:
        """Build the response from a segment and the deleted lists and campaigns that it names."""
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
        count: The number of contacts that match the segment now.
    """

    model_config = example(count=187)

    count: int


class SegmentPreviewRead(ReadModel):
    """The result of trying rules: how many contacts match, and some of them.

    Attributes:
        count: The number of contacts that match; null if it was not requested.
        sample: Some of the contacts that match, in no particular order.
    """

    model_config = example(count=187)

    count: int | None
    sample: list[ContactRead]


class SegmentFieldsRead(ReadModel):
    """The fields that a rule may name.

    Attributes:
        data: The built-in fields, then the custom fields by name. A rule may also name an attribute
            for which no custom field is defined; such attributes are not listed.
    """

    data: list[SegmentFieldRead]


class SegmentNodeVerdict(ReadModel):
    """Whether one rule or group of a segment matches a contact.

    Attributes:
        pointer: JSON pointer to the rule or group; ``/filter`` is the whole filter.
        node: ``rule`` for a rule; ``all``, ``any`` or ``not`` for a group.
        holds: Whether the rule or group matches the contact.
        field: The field that the rule compares; null for a group.
        op: The operator of the rule; null for a group.
        value: The value in the rule; null for a group.
        actual: The contact's value of the field; null for a group, or if there is no value.
    """

    model_config = example(
        pointer="/filter/all/0",
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
    """Why a contact is or is not in a segment.

    Attributes:
        is_in: Whether the contact is in the segment.
        nodes: The result of every rule and group; a group comes before the rules in it.
    """

    model_config = example(is_in=True)

    segment_id: Id
    contact_id: Id
    is_in: bool
    nodes: list[SegmentNodeVerdict]

    @classmethod
    def of(cls, verdicts: list[RuleVerdict], *, segment_id: UUID, contact_id: UUID) -> Self:
        """Build the response that explains why a contact is or is not in a segment.

        Args:
            verdicts: The result of each rule and group of the segment. The first result is the
                result of the whole filter.
            segment_id: The id of the segment.
            contact_id: The id of the contact.
        """
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
