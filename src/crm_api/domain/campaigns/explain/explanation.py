"""The result of ``explain``: whether one recipient would get a message now."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.consent.reply_reader.reader import DecidedBy, ReplyKind
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, StopRule


class SendStopRead(ReadModel):
    """A rule that prevents the message to a recipient.

    Attributes:
        rule: The rule that prevents the message.
        detail: What the rule found, and what can be done.
        until: The time at which the rule stops applying; null if that time is not known.
    """

    model_config = example(
        rule="outside_schedule",
        detail="The present time is outside the campaign's days and hours.",
        until="2026-12-01T14:00:00.000Z",
    )

    rule: Annotated[str, Vocabulary(StopRule)]
    detail: str
    until: Instant | None


class ReplyReadingRead(ReadModel):
    """How the service classified a reply when the reply arrived."""

    message_id: Annotated[
        Id | None,
        Field(
            description="The id of the message that is the reply; null if the service did not know "
            "the phone line when the reply arrived."
        ),
    ]
    kind: Annotated[str, Vocabulary(ReplyKind), Field(description="The class of the reply.")]
    decided_by: Annotated[
        str,
        Vocabulary(DecidedBy, name="ReplyDecidedBy"),
        Field(description="The part of the reply reader that decided the class of the reply."),
    ]
    words: Annotated[
        str | None,
        Field(
            description="The keyword that decided, or the words that had the most influence on the "
            "decision; null if there are none."
        ),
    ]
    asks_to_stop: Annotated[
        float,
        Field(
            description="The probability, from 0 to 1, that the person asks for no more messages."
        ),
    ]
    needs_a_person: Annotated[
        float,
        Field(
            description="The probability, from 0 to 1, that the person asks, or may be asking, for "
            "no more messages."
        ),
    ]
    opt_out_at: Annotated[
        float,
        Field(description="A reply opts the number out if `asks_to_stop` is this value or more."),
    ]
    hold_at: Annotated[
        float,
        Field(
            description="A reply puts the number on hold, for a person to check, if "
            "`needs_a_person` is this value or more."
        ),
    ]
    model: Annotated[
        str,
        Field(
            description="The version of the model that read the reply: the first characters of the "
            "SHA-256 of its data."
        ),
    ]


class ExplanationRead(ReadModel):
    """Whether a recipient would get a message now, and which rules prevent it.

    Attributes:
        step: 0 for the first message, 1 for the first follow-up, and so on.
        status: The status of the recipient at this step.
        variant: The name of the recipient's variant of the first message; null if there is none.
        variant_reason: Why the recipient gets this variant.
        would_send_now: True if no rule prevents the message.
        rule: The most important rule that prevents the message; null if no rule does.
        detail: What the rule in ``rule`` found, and what can be done; null if ``rule`` is null.
        next_allowed_at: The first time at which no rule prevents the message, which may be now.
            Null if the time is not known, for example because a user must act first.
        stops: All rules that prevent the message, most important first.
    """

    model_config = example(
        variant="Short",
        variant_reason="Variants are assigned by contact id, in proportion to their shares.",
        rule="outside_schedule",
        detail="The present time is outside the campaign's days and hours.",
        next_allowed_at="2026-12-01T14:00:00.000Z",
    )

    step: int
    status: Annotated[str, Vocabulary(MembershipStatus)]
    variant: str | None
    variant_reason: str
    would_send_now: bool
    rule: Annotated[str, Vocabulary(StopRule)] | None
    detail: str | None
    next_allowed_at: Instant | None
    stops: list[SendStopRead]
    reading: Annotated[
        ReplyReadingRead | None,
        Field(
            description="How the reply that opted the number out, or put it on hold, was "
            "classified; null if there is no such reply."
        ),
    ]
