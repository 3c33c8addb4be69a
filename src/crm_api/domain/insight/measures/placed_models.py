"""The columns that stored records have for the place of the person."""

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column


class Placed:
    """The place of a record's person: the keys of the breakdowns by ZIP, city and source.

    Only the job ``place_records`` writes the place. After ``settle_people`` has moved the sums of a
    person to another place, a trigger on ``insight_person_move``
    (``migrations/objects/forget_places.sql``) clears the stored places of the person. So a stored
    place is always the place at which ``insight_person_tally`` (the sums by place) counts the
    person.
    """

    is_placed: Mapped[bool] = mapped_column(server_default=text("false"))
    """False until the job has stored the place. Until then, figures look up the person."""
    zip: Mapped[str | None]
    city: Mapped[str | None]
    source: Mapped[str | None]
