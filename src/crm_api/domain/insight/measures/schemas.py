"""Response models of measures, of their figures, and of the records of a figure."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from pydantic import Field

from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figures import Figure, Figures, Number
from crm_api.domain.insight.measures.record_query import Operand, RecordKind
from crm_api.domain.insight.measures.records import PersonName, Record
from crm_api.domain.insight.measures.registry import Measure, Unit
from crm_api.domain.kit.examples import CAMPAIGN, CONTACT, NOW, example, example_id
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary

ROWS = f"/v1/insight/rows?measure=reply_rate&by=campaign&timezone=UTC&rules=1&key={CAMPAIGN}"


class MeasureRead(ReadModel):
    """A measure: its definition and its breakdowns.

    Attributes:
        name: The name of the measure.
        definition: The definition of the measure.
        numerator: What is counted or summed.
        denominator: What the numerator is divided by; for a median, the records. Null for counts
            and sums.
        unit: The unit of the figures.
        by: The allowed breakdowns, that is, the values of the parameter `by`.
    """

    model_config = example(
        name="reply_rate",
        definition="People who replied to a campaign, of the people who got its first message.",
        numerator="people who replied",
        denominator="people who got a message of the campaign",
        unit="rate",
        by=["campaign", "list"],
    )

    name: str
    definition: str
    numerator: str
    denominator: str | None
    unit: Annotated[str, Vocabulary(Unit, "InsightUnit")]
    by: list[Annotated[str, Vocabulary(Dimension, "InsightDimension")]]

    @classmethod
    def of(cls, measure: Measure) -> "MeasureRead":
        """Build the response for a measure."""
        return cls.built_from(measure, by=[one for one in Dimension if one in measure.by])


class MeasureList(ReadModel):
    """All measures.

    Attributes:
        data: The measures.
    """

    data: list[MeasureRead]


class FigureRead(ReadModel):
    """A computed figure: the total, or the value for one group or one period of records.

    Attributes:
        key: The group, such as the id of a campaign. Null for the total, and for records without a
            group.
        label: The name of the group.
        bucket_start: The beginning of the period; null if no periods were requested.
        numerator: The number of counted records, or the sum of their amounts; null for a median.
        denominator: What the numerator is divided by; for a median, the number of records. Null for
            counts and sums.
        value: The value of the figure. Rates, ratios and shares are decimal text. Money is in
            cents, a median in seconds.
        low: The lower bound of the 95 % interval of a rate (Wilson); null for other units.
        high: The upper bound of the 95 % interval of a rate (Wilson); null for other units.
        enough: Whether you can rely on the figure. A rate needs 30 records and an interval of at
            most 4 percentage points; a median needs 30 records. Always true for counts and sums.
        enough_at: When there will be enough records at the present pace; null if there are enough
            now, or if the pace is unknown.
        unripe: The number of records whose result may still change. Replies can arrive for 72
            hours, delivery reports for 24 hours.
        rows_url: The path of the request that lists the records. Add `limit` and `cursor`.
    """

    model_config = example(
        key=CAMPAIGN,
        label="Foundation check, December",
        bucket_start=None,
        numerator=14,
        denominator=240,
        value="0.0583",
        low="0.0351",
        high="0.0955",
        enough=False,
        enough_at=NOW,
        unripe=0,
        rows_url=ROWS,
    )

    key: str | None
    label: str | None
    bucket_start: Instant | None
    numerator: Number | None
    denominator: Number | None
    value: Number | None
    low: str | None
    high: str | None
    enough: bool
    enough_at: Instant | None
    unripe: int
    rows_url: str

    @classmethod
    def of(cls, figure: Figure) -> "FigureRead":
        """Build the response from a figure."""
        return cls.model_validate({**vars(figure), "enough": figure.is_enough})


class InsightRead(ReadModel):
    """The figures of a measure.

    Attributes:
        measure: The name of the measure.
        definition: The definition of the measure.
        unit: The unit of the figures.
        by: The breakdown of the figures, such as `campaign`; null if none.
        bucket: The length of each period: `day`, `week` or `month`; null without periods.
        timezone: The time zone of periods, hours and weekdays.
        as_of: When the figures were computed.
        rules_version: The version of the attribution rules.
        total: The figure of all records.
        rows: The figures, ordered by period, then by key.
    """

    model_config = example(
        measure="reply_rate",
        definition="People who replied to a campaign, of the people who got its first message.",
        unit="rate",
        by="campaign",
        bucket=None,
        timezone="UTC",
        as_of=NOW,
        rules_version=1,
    )

    measure: str
    definition: str
    unit: Annotated[str, Vocabulary(Unit, "InsightUnit")]
    by: Annotated[str, Vocabulary(Dimension, "InsightDimension")] | None
    bucket: Annotated[str, Vocabulary(Bucket, "InsightBucket")] | None
    timezone: str
    as_of: Instant
    rules_version: int
    total: FigureRead
    rows: list[FigureRead]


class RecordRead(ReadModel):
    """A record that a figure counts.

    Attributes:
        kind: The kind of the record.
        at: When the message was sent, or when the outcome, answer or cost happened.
        counted: Whether the record counts in the numerator of the rate; null for other figures.
        amount: Cents, seconds, or the credited share of an outcome; null if records are only
            counted.
        key: The value of the breakdown, such as a ZIP; null if the record has none.
        contact_id: The contact of the record; null if none, and without the scope `contacts:read`.
        first_name: The contact's first name; null without the scope `contacts:read`.
        last_name: The contact's last name; null without the scope `contacts:read`.
        campaign_id: The campaign of the message; null if none.
        step: The step of the campaign; null if none.
        outcome_id: The outcome to which the record belongs; null if none.
        part: The `numerator` or the `denominator` of a quotient of two measures; null for other
            figures.
    """

    model_config = example(
        kind="message",
        at=NOW,
        counted=True,
        amount=None,
        key=CAMPAIGN,
        contact_id=CONTACT,
        first_name="Ada",
        last_name="Rossi",
        campaign_id=CAMPAIGN,
        step=0,
        outcome_id=None,
        part=None,
        id=example_id("recipient"),
    )

    id: Id
    kind: Annotated[str, Vocabulary(RecordKind, "InsightRecordKind")]
    at: Instant
    counted: bool | None
    amount: Annotated[Number | None, Field()]
    key: str | None
    contact_id: Id | None
    first_name: str | None = None
    last_name: str | None = None
    campaign_id: Id | None
    step: int | None
    outcome_id: Id | None
    part: Annotated[str, Vocabulary(Operand, "InsightRecordPart")] | None

    @classmethod
    def of(cls, record: Record, names: Mapping[UUID, PersonName] | None) -> "RecordRead":
        """Build the response from a record.

        ``names`` has the names of contacts, by contact id. It is None if the caller must not see
        contacts; then the response has no contact id and no name.
        """
        shown = cls.model_validate(record)
        if names is None or record.contact_id is None:
            return shown.model_copy(update={"contact_id": None})
        name = names.get(record.contact_id)
        if name is None:
            return shown
        return shown.model_copy(update={"first_name": name.first_name, "last_name": name.last_name})


def rows_of(figures: Figures) -> list[FigureRead]:
    """Build the field ``rows`` of an ``InsightRead`` from the computed figures."""
    return [FigureRead.of(one) for one in figures.rows]
