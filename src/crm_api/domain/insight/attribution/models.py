"""The tables of attribution rules, of computed credits, and of the runs that computed them."""

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
    """How an outcome is divided among the messages that may be credited.

    Attributes:
        LAST: The last touch gets the whole outcome.
        FIRST: The first touch gets the whole outcome.
        LINEAR: All touches get the same share.
        TIME_DECAY: The weight of a touch halves with each full week between touch and outcome.
    """

    LAST = "last"
    FIRST = "first"
    LINEAR = "linear"
    TIME_DECAY = "time_decay"


class TouchClass(StrEnum):
    """What the person did after a message. Every credit has one of these classes.

    Attributes:
        REPLIED: The person replied to the message, and did not opt out.
        CALLED: The person called, and the message was the last one in the 72 hours before the call.
        DELIVERED: The person got the message.
    """

    REPLIED = "replied"
    CALLED = "called"
    DELIVERED = "delivered"


class AttributionRule(Base):
    """A version of the attribution rules. A trigger refuses every change.

    The table does not contain version 1, which is part of the code: ``rules.FIRST_RULES``.
    """

    __tablename__ = "attribution_rule"
    __table_args__ = (CheckConstraint(one_of("model", AttributionModel), name="model"),)

    version: Mapped[int] = mapped_column(Integer, Identity(always=True, start=2), primary_key=True)
    model: Mapped[str]
    windows: Mapped[dict[str, Any]]
    """For each ``TouchClass``, the hours after a touch in which an outcome may happen; 0 turns the
    class off."""
    created_by: Mapped[str]
    created_at: Mapped[datetime]


class OutcomeCredit(Base):
    """A part of an outcome under one version of the rules: a credit of a message, or the remainder.

    For one outcome and version, the weights sum to 1, and the cents sum to the amount of the
    outcome. The remainder, which no message earned, has no ``membership_id``.
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
    """The run that computed the credit; None if the credit was computed outside a run."""
    membership_id: Mapped[UUID | None]
    """The id of the recipient of the message; None for the remainder."""
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
    """A computation of all credits under one version of the rules, with digests to verify it."""

    __tablename__ = "attribution_run"
    __table_args__ = (Index("idx_attribution_run_version", "rules_version", "as_of"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    rules_version: Mapped[int] = mapped_column(Integer)
    as_of: Mapped[datetime]
    """Outcomes, messages, replies and calls up to this instant were read."""
    outcomes: Mapped[int] = mapped_column(Integer)
    inputs_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """The SHA-256 of the rules, the outcomes and their touches."""
    result_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """The SHA-256 of the credits."""
