"""The tables of sums by the place of the person: ZIP, city or source."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.insight.measures.dimensions import Dimension
from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base


class PlaceGrain(StrEnum):
    """The period that a row of ``insight_person_tally`` counts: a day or a month, in UTC."""

    DAY = "day"
    MONTH = "month"


class PlaceDimension(StrEnum):
    """The breakdowns for which ``insight_person_tally`` has sums."""

    ZIP = Dimension.ZIP.value
    CITY = Dimension.CITY.value
    SOURCE = Dimension.SOURCE.value


_ZERO = text("0")
UNTIL = "coalesce((SELECT u.until FROM insight_person_until u), CAST('1900-01-01Z' AS timestamptz))"
"""SQL: the instant before which the sums by place have all records."""


class _Counts:
    """Numbers of messages and accepted attempts, as in ``InsightTally``."""

    sent: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    delivered: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    failed: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    replied: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    interested: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    opted_out: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    accepted: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    segments: Mapped[int] = mapped_column(Integer, server_default=_ZERO)


class InsightPersonTally(_Counts, Base):
    """The sums of messages and accepted attempts of a day or a month, by the person's place.

    Only the job (``settle_people``) writes it. The sums count the records before
    ``InsightPersonUntil.until``, as they were when the job last ran. Each record counts at the
    place of its person. Later changes are in ``InsightPersonChange`` and ``InsightPersonMove``.
    """

    __tablename__ = "insight_person_tally"
    __table_args__ = (
        CheckConstraint(one_of("dimension", PlaceDimension), name="dimension"),
        CheckConstraint(one_of("grain", PlaceGrain), name="grain"),
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
    key: Mapped[str | None]
    grain: Mapped[str]
    at: Mapped[datetime]
    """The beginning of the day or the month."""
    is_first: Mapped[bool]
    """True: the row counts messages of the first step. False: other messages, or attempts."""
    first_at: Mapped[datetime]
    """The earliest message or attempt that was added."""


class InsightPersonChange(_Counts, Base):
    """A change of the counts by a message or attempt that was more than an hour old.

    A decrease has negative numbers.

    Row triggers append it (``migrations/objects/note_late_message.sql``, ``note_late_cost.sql``).
    """

    __tablename__ = "insight_person_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    contact_id: Mapped[UUID | None]
    is_first: Mapped[bool] = mapped_column(server_default=text("false"))
    at: Mapped[datetime]
    """When the message was sent (if it failed: due), or when the attempt was accepted."""


class InsightPersonMove(Base):
    """The place (ZIP, city and source) that a person had before a change.

    A row trigger appends it (``migrations/objects/note_moved_person.sql``). The sums still count
    the person at the place in the person's oldest row, until the job has moved the sums. Until
    then, lists of records count the person at this place too.
    """

    __tablename__ = "insight_person_move"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    contact_id: Mapped[UUID]
    postal_code: Mapped[str | None]
    city: Mapped[str | None]
    source: Mapped[str | None]


class InsightPersonUntil(Base):
    """The instant before which ``InsightPersonTally`` has all records; at most one row."""

    __tablename__ = "insight_person_until"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    until: Mapped[datetime]
