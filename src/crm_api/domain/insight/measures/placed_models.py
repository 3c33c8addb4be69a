"""Columns of records that a job stores together with the place of the person."""

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column


class Placed:
    """The place of a record's person, with the keys of the breakdowns by ZIP, city and source.

    Only the job writes it (``place_records``). A trigger on ``insight_person_move``
    (``migrations/objects/forget_places.sql``) clears it when a person's former place is forgotten.
    So the place is the one where the sums by place count the person.
    """

    is_placed: Mapped[bool] = mapped_column(server_default=text("false"))
    """False before the job has stored the place; figures look the person up until then."""
    zip: Mapped[str | None]
    city: Mapped[str | None]
    source: Mapped[str | None]
