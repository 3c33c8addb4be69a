"""The tables with copies of all outcomes that were not reversed, so that figures are read fast."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.insight.measures.placed_models import Placed
from crm_api.platform.database import Base


class InsightOutcome(Placed, Base):
    """A copy of an outcome that was not reversed, with the ZIP and city of its person.

    Only the job ``settle_outcomes`` writes this table. It has the outcomes as they were when the
    job last ran. ``InsightOutcomeChange`` lists the outcomes that are new, or changed since then.
    ``source`` is where the outcome comes from.
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
    """An outcome that is new, was reversed, or now belongs to another person.

    Row triggers append it (``migrations/objects/note_outcome.sql``, ``note_subject.sql``).
    """

    __tablename__ = "insight_outcome_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    outcome_id: Mapped[UUID]
