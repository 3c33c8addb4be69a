"""The table of kept sums: with them, figures over millions of messages are computed fast."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base

NOBODY = UUID(int=0)
"""The campaign id in rows that belong to no campaign, or to all campaigns."""


class TallyGrain(StrEnum):
    """Which period and which messages a row of ``insight_tally`` counts.

    Attributes:
        ALL: An hour of all messages together, also those without a campaign.
        DAY: A day, in UTC, of one campaign.
        HOUR: An hour of one campaign.
    """

    ALL = "all"
    DAY = "day"
    HOUR = "hour"


_ZERO = text("0")


class InsightTally(Base):
    """Changes of the numbers of messages, replies and accepted attempts in an hour or a day.

    Triggers (``migrations/objects/count_messages_by_hour.sql``, ``count_costs_by_hour.sql``) run
    after each SQL statement. They append the changes of the statement three times: for an hour of
    all messages, for an hour of one campaign, and for a day of one campaign (``TallyGrain``). A
    decrease has negative numbers. So the sums equal the counts of the records in every snapshot.

    - A message counts at the instant when it was sent or, if it failed, when it was due.
    - An attempt that the provider accepted has a price. It counts at the instant when it was
      accepted, in the step and variant of its recipient (``move_costs_of_recipient.sql``).

    A job merges the rows.
    """

    __tablename__ = "insight_tally"
    __table_args__ = (
        CheckConstraint(one_of("grain", TallyGrain), name="grain"),
        Index("idx_insight_tally_grain", "grain", "at"),
        Index("idx_insight_tally_campaign", "campaign_id", "grain", "at"),
        Index("idx_insight_tally_fresh", "id", postgresql_where=text("NOT is_merged")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    grain: Mapped[str]
    campaign_id: Mapped[UUID]
    """``NOBODY`` in the grain ``all``, and for attempts without a campaign."""
    step: Mapped[int] = mapped_column(SmallInteger, server_default=_ZERO)
    """-1 for accepted attempts without a recipient."""
    variant: Mapped[int] = mapped_column(SmallInteger, server_default=_ZERO)
    """0 in the grain ``all``; -1 for accepted attempts without a recipient."""
    at: Mapped[datetime]
    """The beginning of the hour or the day."""
    sent: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Messages that were sent or delivered."""
    delivered: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    failed: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    replied: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Sent or delivered messages whose person replied."""
    opted_out: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Sent or delivered messages whose person opted out."""
    interested: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Sent or delivered messages whose person replied with interest."""
    accepted: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Accepted attempts."""
    segments: Mapped[int] = mapped_column(Integer, server_default=_ZERO)
    """Segments of accepted attempts."""
    is_merged: Mapped[bool] = mapped_column(server_default=text("false"))
    """True: the row is a sum of changes. False: it is a change that is not merged yet."""
