"""The tables of holdouts, and of the people whom a holdout assigned to a group.

A holdout divides people into two groups: one gets campaign messages, the other (held out) gets
none. A comparison of the groups shows the effect of the messages.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class HoldoutScope(StrEnum):
    """The people who take part in a holdout. Some of them get no campaign messages.

    Attributes:
        COLD: People who were not contacted before.
        ALL: All people.
    """

    COLD = "cold"
    ALL = "all"


class Holdout(Base):
    """A plan to send no campaign message to some people, to measure the effect of messages."""

    __tablename__ = "holdout"
    __table_args__ = (
        CheckConstraint(one_of("scope", HoldoutScope), name="scope"),
        CheckConstraint("percent BETWEEN 1 AND 50", name="percent"),
        CheckConstraint("starts_at < ends_at", name="period"),
        Index("idx_holdout_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    percent: Mapped[int] = mapped_column(SmallInteger)
    scope: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    hash_key: Mapped[bytes] = mapped_column(LargeBinary)
    """The key of the hash that assigns a phone number to one of the two groups of the holdout. The
    key is random for each holdout."""
    created_by: Mapped[str]
    created_at: Mapped[datetime]


class HoldoutPerson(Base):
    """A person in one of the two groups of a holdout.

    One group gets campaign messages, the other gets none. A person is put in a group when a message
    to the person is due. The comparison of the groups includes all these people, whatever happens
    to them later.
    """

    __tablename__ = "holdout_person"

    holdout_id: Mapped[UUID] = mapped_column(
        ForeignKey("holdout.id", ondelete="CASCADE"), primary_key=True
    )
    contact_id: Mapped[UUID] = mapped_column(primary_key=True)
    is_held: Mapped[bool]
    """True: the person gets no message. False: the person is in the group that is messaged."""
    assigned_at: Mapped[datetime]
