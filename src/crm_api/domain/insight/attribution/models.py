"""Tables: versions of the attribution rules, stored credits, and the runs that computed them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class AttributionModel(StrEnum):
    """How an outcome is divided among several touches.

    A touch is a campaign message, paired with a reply, a call or a delivery that followed it.

    Attributes:
        LAST: The last touch gets the whole outcome.
        FIRST: The first touch gets the whole outcome.
        LINEAR: All touches get the same share.
        TIME_DECAY: The weight of a touch is halved for each full week between touch and outcome.
    """

    LAST = "last"
    FIRST = "first"
    LINEAR = "linear"
    TIME_DECAY = "time_decay"


class TouchClass(StrEnum):
    """What happened after a message. Every credit of a message has one of these classes.

    Attributes:
        REPLIED: The person replied to the message, and did not opt out.
        CALLED: The person called, and the message was the last campaign message in the 72 hours
            before the call.
        DELIVERED: The person got the message.
    """

    REPLIED = "replied"
    CALLED = "called"
    DELIVERED = "delivered"


class AttributionRule(Base):
    """A version of the attribution rules. A trigger refuses every change of a row.

    The table does not contain version 1, which is a constant: ``rules.FIRST_RULES``.
    """

    __tablename__ = "attribution_rule"
    __table_args__ = (CheckConstraint(one_of("model", AttributionModel), name="model"),)

    version: Mapped[int] = mapped_column(Integer, Identity(always=True, start=2), primary_key=True)
    model: Mapped[str]
    windows: Mapped[dict[str, Any]]
    """A number of hours for each ``TouchClass`` (delivered, replied or called). A touch gets a
    credit for an outcome only if the outcome happens within these hours after the touch. With 0
    hours, touches of the class get no credit."""
    created_by: Mapped[str]
    created_at: Mapped[datetime]


class OutcomeCredit(Base):
    """One share of an outcome.

    A version of the attribution rules credits the share either to one message or to no message. The
    share is ``numerator`` / ``denominator``. For one outcome and version, the shares sum to 1, and
    the cents sum to the amount of the outcome.
    """

    __tablename__ = "outcome_credit"
    __table_args__ = (
        CheckConstraint(one_of("touch_class", TouchClass), name="touch_class"),
        CheckConstraint("numerator > 0 AND numerator <= denominator", name="weight"),
        Index("idx_outcome_credit_outcome", "outcome_id", "rules_version"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    outcome_id: Mapped[UUID] = mapped_column(ForeignKey("outcome.id", ondelete="CASCADE"))
    rules_version: Mapped[int] = mapped_column(Integer)
    run_id: Mapped[UUID | None]
    """The run that computed the credit; None if a request computed the credit between two runs."""
    membership_id: Mapped[UUID | None]
    """The id of the recipient of the message; None if the share is credited to no message."""
    campaign_id: Mapped[UUID | None]
    variant: Mapped[str | None]
    """The name of the variant."""
    step: Mapped[int | None] = mapped_column(SmallInteger)
    touch_class: Mapped[str | None]
    numerator: Mapped[int] = mapped_column(BigInteger)
    denominator: Mapped[int] = mapped_column(BigInteger)
    cents: Mapped[int | None] = mapped_column(BigInteger)
    """The part of the outcome's amount, in cents; None if the outcome has no amount."""


class AttributionRun(Base):
    """One computation of all credits by a version of the attribution rules.

    A credit is the share of an outcome that is credited to one message, or to no message. The row
    also contains hashes, with which the computation can be verified later.
    """

    __tablename__ = "attribution_run"
    __table_args__ = (Index("idx_attribution_run_version", "rules_version", "as_of"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    rules_version: Mapped[int] = mapped_column(Integer)
    as_of: Mapped[datetime]
    """The run uses the outcomes, messages, replies and calls up to this instant."""
    outcomes: Mapped[int] = mapped_column(Integer)
    inputs_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """The SHA-256 of the rules, the outcomes and their touches."""
    result_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """The SHA-256 of the credits."""
