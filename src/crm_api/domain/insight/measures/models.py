"""Tables from which figures are read fast: stored sums, and copies of records.

- Sums by hour and day: ``InsightTally``. Triggers update these sums.
- Sums by place: ``InsightPersonTally``. A job updates these sums.
- Copies of records: ``InsightReply``, ``InsightAnswer``, ``InsightOutcome``. A job copies them.

Hours, days and months are in UTC.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.insight.measures.dimensions import Dimension
from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base

NO_CAMPAIGN = UUID(int=0)
"""The campaign id in rows for all campaigns together, and in rows for attempts without a campaign.
"""
_ZERO = text("0")


class TallyGranularity(StrEnum):
    """Which period and which messages a row of ``insight_tally`` counts.

    Attributes:
        ALL: All messages and attempts of an hour, also attempts without a campaign.
        DAY: The messages and attempts of one campaign on one day.
        HOUR: The messages and attempts of one campaign in one hour.
    """

    ALL = "all"
    DAY = "day"
    HOUR = "hour"


class _CountColumns:
    """Columns that count messages by their result, and columns that count accepted attempts.

    An accepted attempt is one try to send a message that the provider accepted.
    """

    sent: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Messages that were sent or delivered."""
    delivered: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    failed: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    replied: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Sent or delivered messages to which the person replied."""
    interested: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Sent or delivered messages to which the person replied with interest."""
    opted_out: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Sent or delivered messages to which the person replied with an opt-out."""
    accepted: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Attempts that the provider accepted."""
    segments: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Segments of the attempts that the provider accepted. Each segment has a price."""


class InsightTally(_CountColumns, Base):
    """Numbers of messages and accepted attempts, to be added up for each hour or day.

    To get the number for a period, add up the rows of the period that have the same granularity
    (``grain``). When messages or attempts are stored or change, triggers (``migrations/objects``)
    add rows. A row can have negative numbers. A job merges the rows of the same hour or day.

    - A message counts in the hour in which it was sent. If it was not sent, it counts in the hour
      in which it was due.
    - An attempt counts in the hour in which the provider accepted it. The step and variant of an
      attempt are the present step and variant of its recipient.
    """

    __tablename__ = "insight_tally"
    __table_args__ = (
        CheckConstraint(one_of("grain", TallyGranularity), name="grain"),
        Index("idx_insight_tally_grain", "grain", "at"),
        Index("idx_insight_tally_campaign", "campaign_id", "grain", "at"),
        Index("idx_insight_tally_fresh", "id", postgresql_where=text("NOT is_merged")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    grain: Mapped[str]
    """The kind of this row's sums: a ``TallyGranularity``."""
    campaign_id: Mapped[UUID]
    """``NO_CAMPAIGN`` in the granularity ``all``, and for attempts without a campaign."""
    step: Mapped[int] = mapped_column(SmallInteger, server_default=_ZERO)
    """The step of the campaign; -1 for accepted attempts without a recipient."""
    variant: Mapped[int] = mapped_column(SmallInteger, server_default=_ZERO)
    """The variant; 0 in the granularity ``all``; -1 for accepted attempts without a recipient."""
    at: Mapped[datetime]
    """The beginning of the hour or the day."""
    is_merged: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if the row is the sum of merged changes; False if it is a single change."""


class PlaceGranularity(StrEnum):
    """Whether a row of ``insight_person_tally`` is for one day or for one month.

    A row of this table has numbers of messages by ZIP, city or source of the person.
    """

    DAY = "day"
    MONTH = "month"


class PlaceDimension(StrEnum):
    """A part of a person's place, by which messages are counted: ZIP, city or source.

    The counts are in the table ``insight_person_tally``.
    """

    ZIP = Dimension.ZIP.value
    CITY = Dimension.CITY.value
    SOURCE = Dimension.SOURCE.value


PLACE_SUMS_UNTIL = (
    "coalesce((SELECT u.until FROM insight_person_until u), CAST('1900-01-01Z' AS timestamptz))"
)
"""SQL expression of an instant. The sums by place (ZIP, city and source) include all messages and
attempts before this instant."""


class InsightPersonTally(_CountColumns, Base):
    """How many messages and accepted attempts a ZIP, city or source had on a day or in a month.

    The job ``update_place_sums`` counts messages and attempts before ``InsightPersonUntil.until``.
    If a counted message or attempt changes, ``InsightPersonChange`` lists the change until the job
    processes it. If a person's place changes, ``InsightPersonMove`` lists the former place until
    the job processes this change.
    """

    __tablename__ = "insight_person_tally"
    __table_args__ = (
        CheckConstraint(one_of("dimension", PlaceDimension), name="dimension"),
        CheckConstraint(one_of("grain", PlaceGranularity), name="grain"),
        Index(
            "uq_insight_person_tally",
            *("dimension", "grain", "at", "is_first", "key"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "idx_insight_person_tally_month",
            "dimension",
            "at",
            postgresql_include=[
                *("is_first", "key", "first_at", "sent", "delivered", "failed", "replied"),
                *("interested", "opted_out", "accepted", "segments"),
            ],
            postgresql_where=text("grain = 'month'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    dimension: Mapped[str]
    """What ``key`` is: a ``PlaceDimension``."""
    key: Mapped[str | None]
    """The ZIP, the city or the source."""
    grain: Mapped[str]
    """The length of the period of this row: a ``PlaceGranularity``."""
    at: Mapped[datetime]
    """The beginning of the day or the month."""
    is_first: Mapped[bool]
    """True if the row counts first messages; False if it counts other messages, or attempts."""
    first_at: Mapped[datetime]
    """The instant of the earliest message or attempt that the row counts."""


class InsightPersonChange(_CountColumns, Base):
    """A change that must still be added to the sums by ZIP, city or source of the person.

    A trigger appends a row when a message or attempt that is older than one hour changes. The job
    ``update_place_sums`` adds the row to the sums and deletes it. Numbers can be negative.
    """

    __tablename__ = "insight_person_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    contact_id: Mapped[UUID | None]
    is_first: Mapped[bool] = mapped_column(server_default=text("false"))
    at: Mapped[datetime]
    """When the attempt was accepted or the message was sent; for a failed message, when it was due.
    """


class InsightPersonMove(Base):
    """A former place (ZIP, city and source) of a person whose place has changed.

    Triggers append rows when a place changes or a contact is deleted. The job ``update_place_sums``
    corrects the sums and deletes the rows. While a person has rows, sums and lists of records use
    the place in the person's oldest row. The table has no indexes: an import or its undo can append
    many rows, and every reader reads all rows.
    """

    __tablename__ = "insight_person_move"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    contact_id: Mapped[UUID]
    postal_code: Mapped[str | None]
    city: Mapped[str | None]
    source: Mapped[str | None]

    __mapper_args__ = {"primary_key": ["id"]}  # noqa: RUF012 - SQLAlchemy reads it


class InsightPersonUntil(Base):
    """The time until which ``InsightPersonTally`` counts messages and attempts.

    Messages and attempts that are earlier than ``until`` are counted. The table has at most one
    row.
    """

    __tablename__ = "insight_person_until"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    until: Mapped[datetime]


class PlaceColumns:
    """Columns with a person's ZIP, city and source, for tables with copied records.

    The job ``add_places`` fills these columns with the place under which ``insight_person_tally``
    counts the person. If this place changes, a trigger clears the columns. Then ``add_places``
    fills them again.
    """

    is_placed: Mapped[bool] = mapped_column(server_default=text("false"))
    """False until the job has stored the place (ZIP, city and source) in this row. Until then,
    figures read these values from the person's contact."""
    zip: Mapped[str | None]
    city: Mapped[str | None]
    source: Mapped[str | None]


class InsightOutcome(PlaceColumns, Base):
    """A copied outcome, such as an appointment or a payment, with the person's ZIP and city.

    The job ``copy_outcomes`` writes the copies. The job ``add_places`` adds the ZIP and city. A
    reversed outcome has no copy. ``InsightOutcomeChange`` lists outcomes that must still be copied.
    ``source`` is the origin of the outcome, not of the person.
    """

    __tablename__ = "insight_outcome"
    __table_args__ = (
        Index(
            "idx_insight_outcome_zip",
            "kind",
            "zip",
            postgresql_include=["at", "amount_cents", "id"],
            postgresql_where=text("is_placed"),
        ),
        Index("idx_insight_outcome_contact", "contact_id"),
        Index("idx_insight_outcome_unplaced", "id", postgresql_where=text("NOT is_placed")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the outcome."""
    contact_id: Mapped[UUID | None]
    kind: Mapped[str]
    at: Mapped[datetime]
    """When the outcome happened."""
    amount_cents: Mapped[int | None] = mapped_column(BigInteger)


class InsightOutcomeChange(Base):
    """An outcome whose copy in ``insight_outcome`` is missing or outdated.

    Triggers add a row when an outcome is recorded, is reversed or gets another person
    (``migrations/objects/note_outcome.sql``, ``note_subject.sql``). The job ``copy_outcomes``
    corrects the copy and deletes the row.
    """

    __tablename__ = "insight_outcome_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    outcome_id: Mapped[UUID]


REPLIES_UNTIL = (
    "coalesce((SELECT u.until FROM insight_reply_until u), CAST('1900-01-01Z' AS timestamptz))"
)
"""SQL expression of an instant. ``insight_reply`` has all first messages that were sent before this
instant and got a reply."""


class InsightReply(PlaceColumns, Base):
    """A copy of a campaign's first message to a person who replied, with the time until the reply.

    The job ``copy_replies`` copies the messages that were sent before ``InsightReplyUntil.until``.
    The job ``add_places`` adds the person's place. ``InsightReplyChange`` lists the messages that
    must be copied again.
    """

    __tablename__ = "insight_reply"
    __table_args__ = (
        Index(
            "idx_insight_reply_zip",
            "zip",
            "waited",
            postgresql_include=["at", "id"],
            postgresql_where=text("is_placed"),
        ),
        Index("idx_insight_reply_contact", "contact_id"),
        Index("idx_insight_reply_unplaced", "id", postgresql_where=text("NOT is_placed")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the message in ``campaign_membership``."""
    contact_id: Mapped[UUID]
    at: Mapped[datetime]
    """When the message was sent."""
    waited: Mapped[int] = mapped_column(BigInteger)
    """Microseconds from the message to the reply."""


class InsightReplyChange(Base):
    """A note that a message's row in ``insight_reply`` may be out of date.

    A trigger adds a note when a copied message or its reply changes more than 73 hours after the
    message was sent. The job ``copy_replies`` copies the message again and deletes the note.
    """

    __tablename__ = "insight_reply_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    membership_id: Mapped[UUID]


class InsightReplyUntil(Base):
    """The time up to which the table ``InsightReply`` is complete.

    ``InsightReply`` contains all first messages with a reply that were sent before ``until``. This
    table, ``InsightReplyUntil``, has at most one row.
    """

    __tablename__ = "insight_reply_until"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    until: Mapped[datetime]


ANSWERS_UNTIL = (
    "coalesce((SELECT u.until FROM insight_answer_until u), CAST('1900-01-01Z' AS timestamptz))"
)
"""SQL expression of an instant. ``insight_answer`` has all answers that were sent before this
instant."""


class InsightAnswer(PlaceColumns, Base):
    """A copy of a user's answer to a person, with the time that the person waited for it.

    Only the job ``copy_answers`` writes this table. The table has the answers that were sent before
    ``InsightAnswerUntil.until``. If a conversation changes after its answers were copied,
    ``InsightAnswerChange`` lists the conversation until the job copies the answers again.
    """

    __tablename__ = "insight_answer"
    __table_args__ = (
        Index(
            "idx_insight_answer_at",
            "at",
            postgresql_include=["waited", "contact_id", "conversation_id"],
        ),
        Index("idx_insight_answer_conversation", "conversation_id"),
        Index(
            "idx_insight_answer_zip",
            "zip",
            "waited",
            postgresql_include=["at", "conversation_id"],
            postgresql_where=text("is_placed"),
        ),
        Index("idx_insight_answer_contact", "contact_id"),
        Index("idx_insight_answer_unplaced", "id", postgresql_where=text("NOT is_placed")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the message in ``activity``."""
    conversation_id: Mapped[UUID]
    contact_id: Mapped[UUID | None]
    at: Mapped[datetime]
    """When the answer was sent."""
    waited: Mapped[int] = mapped_column(BigInteger)
    """Microseconds from the person's first unanswered message to the answer."""


class InsightAnswerChange(Base):
    """A note that a conversation's rows in ``insight_answer`` may be out of date.

    ``insight_answer`` contains copies of the messages in which a user answered a person. A trigger
    adds a note when a message older than one hour changes
    (``migrations/objects/note_late_answer.sql``). The job ``copy_answers`` copies the answers again
    and deletes the note.
    """

    __tablename__ = "insight_answer_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    conversation_id: Mapped[UUID]
    at: Mapped[datetime]
    """When the changed message was sent or received. Earlier answers are not affected."""


class InsightAnswerUntil(Base):
    """The time up to which the table ``InsightAnswer`` is complete.

    ``InsightAnswer`` contains all answers of users that were sent before ``until``. This table,
    ``InsightAnswerUntil``, has at most one row.
    """

    __tablename__ = "insight_answer_until"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    until: Mapped[datetime]
