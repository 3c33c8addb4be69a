"""The result of explain for one recipient."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.consent.reply_reader.reader import DecidedBy, ReplyKind
from crm_api.domain.consent.reply_readings import ReplyReading
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, StopRule


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A rule that stops the message; ``until`` is None if time alone does not lift it."""

    rule: str
    detail: str
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Whether a recipient would get a message now.

    Attributes:
        stops: Every rule that stops the message, most important first; empty if it would be sent.
        next_allowed_at: When time has lifted all rules; None if time alone does not.
        reading: How the reply was read that opted the number out or put it on hold.
    """

    step: int
    status: str
    stops: list[Stop]
    next_allowed_at: datetime | None
    reading: ReplyReading | None

    @property
    def would_send_now(self) -> bool:
        """True if no rule stops the message."""
        return not self.stops


class SendStopRead(ReadModel):
    """A rule that stops the message; ``until`` is null if time alone does not lift it.

    Attributes:
        until: When the rule ends by itself; null if it does not.
    """

    model_config = example(
        rule="outside_schedule",
        detail="It is outside the campaign's hours.",
        until="2026-12-01T14:00:00.000Z",
    )

    rule: Annotated[str, Vocabulary(StopRule)]
    detail: str
    until: Instant | None


class ReplyReadingRead(ReadModel):
    """How a reply was classified when it arrived."""

    message_id: Annotated[
        Id | None,
        Field(description="The reply; null if it came over a line that was not known then."),
    ]
    kind: Annotated[str, Vocabulary(ReplyKind), Field(description="The class of the reply.")]
    decided_by: Annotated[
        str,
        Vocabulary(DecidedBy, name="ReplyDecidedBy"),
        Field(description="The part of the reader that decided."),
    ]
    words: Annotated[str | None, Field(description="The keyword, or the words with most weight.")]
    asks_to_stop: Annotated[
        float, Field(description="The probability that the person asks for no more messages.")
    ]
    needs_a_person: Annotated[
        float, Field(description="The probability that the person asks, or may ask, to stop.")
    ]
    opt_out_at: Annotated[
        float, Field(description="A reply opts out from this value of `asks_to_stop` on.")
    ]
    hold_at: Annotated[
        float, Field(description="A reply is held from this value of `needs_a_person` on.")
    ]
    model: Annotated[str, Field(description="The model: the beginning of its data's SHA-256.")]


class ExplanationRead(ReadModel):
    """Whether a recipient would get a message now.

    ``rule`` is the first rule that stops it, ``stops`` are all of them. ``next_allowed_at`` is the
    present instant if nothing stops the message, and null if a person must act first.

    Attributes:
        step: The message of the campaign: 0 is the first, then the follow-ups.
        would_send_now: Whether the message would be sent now.
        rule: The first rule that stops the message; null if no rule does.
        next_allowed_at: When the message may be sent; null if a person has to act first.
        stops: Every rule that stops the message now.
    """

    model_config = example(
        rule="outside_schedule",
        detail="It is outside the campaign's hours.",
        next_allowed_at="2026-12-01T14:00:00.000Z",
    )

    step: int
    status: Annotated[str, Vocabulary(MembershipStatus)]
    would_send_now: bool
    rule: Annotated[str, Vocabulary(StopRule)] | None
    detail: str | None
    next_allowed_at: Instant | None
    stops: list[SendStopRead]
    reading: Annotated[
        ReplyReadingRead | None,
        Field(
            description="How the reply was read that opted the number out or put it on hold; null "
            "if no reply did."
        ),
    ]

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """Build the answer from an explanation."""
        reading = explanation.reading
        first = explanation.stops[0] if explanation.stops else None
        return cls(
            step=explanation.step,
            status=explanation.status,
            would_send_now=explanation.would_send_now,
            rule=first.rule if first else None,
            detail=first.detail if first else None,
            next_allowed_at=explanation.next_allowed_at,
            stops=[SendStopRead.model_validate(stop) for stop in explanation.stops],
            reading=reading and ReplyReadingRead.model_validate(reading),
        )
