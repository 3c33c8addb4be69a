"""Response models of the forecast of a campaign."""

from datetime import date
from typing import Annotated, Literal

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, StopRule


class ForecastDay(ReadModel):
    """The number of messages that the campaign will probably send on a day.

    Attributes:
        date: The day, in the time zone of the line.
        texts: The number of messages that the campaign will probably send on the day.
    """

    model_config = example(texts=125)

    date: date
    texts: int


class LiftedRead(ReadModel):
    """What the forecast would be if a user removed the reason that now prevents all messages.

    Attributes:
        p50_finish_at: The last message is sent before this instant with a probability of 50 %; null
            if it is never sent, or not within ten years.
        p90_finish_at: The last message is sent before this instant with a probability of 90 %; null
            if it is never sent, or not within ten years.
        binding_rule: The rule that would delay the last message most; null if no rule would delay
            it.
        detail: What the rule in ``binding_rule`` does, and how to finish sooner.
    """

    p50_finish_at: Instant | None
    p90_finish_at: Instant | None
    binding_rule: Annotated[str, Vocabulary(StopRule)] | None
    detail: str


class AssumptionsRead(ReadModel):
    """The assumptions on which a forecast is based.

    The rates are decimals in strings, from 0 to 1. Each rate lies between an assumed rate and the
    measured rate. The more messages were measured, the closer it is to the measured rate.

    Attributes:
        begins_at: When the campaign begins to send.
        campaign_daily_limit: The daily limit of the campaign.
        line_daily_limit: The daily limit of the line.
        texts_per_second: The number of messages that the provider accepts in a second.
        competing_campaigns: The number of other campaigns that send on the same line.
        competing_texts: The number of messages that the competing campaigns still have to send.
        other_texts_a_day: The mean daily number of the line's messages that belong to no campaign,
            as a decimal in a string.
        reply_rate: The share of messages that get a reply. After a reply, no follow-up is sent.
        replies_of: The number of past messages that were measured for ``reply_rate``.
        repeat_rate: The share of messages that need a second attempt after an unclear first one.
        repeats_of: The number of past messages that were measured for ``repeat_rate``.
        people_by_place: Whether the waiting recipients in each state and time zone were
            ``counted``, or estimated from a sample (``sampled``).
        left_out: What the forecast does not consider, as sentences.
    """

    model_config = example(
        campaign_daily_limit=125,
        line_daily_limit=125,
        texts_per_second=8.0,
        other_texts_a_day="3.5",
        reply_rate="0.0800",
        replies_of=400,
        repeat_rate="0.0020",
        repeats_of=400,
        left_out=["Pauses by a user."],
    )

    begins_at: Instant
    campaign_daily_limit: int
    line_daily_limit: int
    texts_per_second: float
    competing_campaigns: int
    competing_texts: int
    other_texts_a_day: str
    reply_rate: str
    replies_of: int
    repeat_rate: str
    repeats_of: int
    people_by_place: Literal["counted", "sampled"]
    left_out: list[str]


class OutsideForecastRead(ReadModel):
    """The recipients that the forecast does not include, because a decision is needed first.

    Attributes:
        review: The number of recipients that wait until a user approves or rejects them.
        held: The number of recipients whose phone number is on hold until a user checks a reply.
        unknown: The number of recipients for whom it is unclear whether the message was sent.
        detail: Which recipients the forecast does not include, and what to do, as a sentence.
    """

    model_config = example(review=4, detail="4 recipients wait for a review.")

    review: int
    held: int
    unknown: int
    detail: str


class ForecastRead(ReadModel):
    """When a campaign sends its last message, and which rule delays this message most.

    Attributes:
        campaign_id: The id of the campaign.
        status: The status of the campaign.
        as_of: The instant of the forecast.
        first_send_at: When the next message is expected; null if no message is expected.
        p50_finish_at: The last message is sent before this instant with a probability of 50 %. If
            null, ``detail`` says why.
        p90_finish_at: The last message is sent before this instant with a probability of 90 %; null
            if over ten years away, or if ``p50_finish_at`` is null.
        binding_rule: The rule that delays the last message most, or prevents all messages; null if
            no rule does.
        detail: What the rule in ``binding_rule`` does, and what can be done.
        if_lifted: The forecast without the reason that now prevents all messages, such as a pause;
            null if there is no such reason, no user can remove it, or no recipient waits.
        people_waiting: The number of recipients that wait for a message.
        texts: The number of messages that the campaign will probably still send, follow-ups
            included.
        not_reached: The number of recipients that get no message before the end of the campaign.
        days: The number of messages on each of the next 60 days; days without messages are left
            out. Empty if a rule prevents all messages.
        later: The number of messages that the campaign will probably send after the next 60 days.
        assumptions: The assumptions on which the forecast is based.
        outside: The recipients that the forecast does not include.
    """

    model_config = example(
        status="running",
        first_send_at="2026-12-01T14:00:00.000Z",
        p50_finish_at="2026-12-01T21:50:00.000Z",
        p90_finish_at="2026-12-01T22:40:00.000Z",
        binding_rule="campaign_daily_limit",
        detail=("The campaign sends 125 messages a day. Raise its daily_limit to finish sooner."),
        people_waiting=115,
        texts=115,
    )

    campaign_id: Id
    status: CampaignStatus
    as_of: Instant
    first_send_at: Instant | None
    p50_finish_at: Instant | None
    p90_finish_at: Instant | None
    binding_rule: Annotated[str, Vocabulary(StopRule)] | None
    detail: str
    if_lifted: LiftedRead | None
    people_waiting: int
    texts: int
    not_reached: int
    days: list[ForecastDay]
    later: int
    assumptions: AssumptionsRead
    outside: OutsideForecastRead
