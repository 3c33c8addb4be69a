"""Response models of the forecast."""

from datetime import date
from typing import Annotated, Literal

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, StopRule


class ForecastDay(ReadModel):
    """A day in the line's time zone, and the campaign's messages on it.

    Attributes:
        date: The day.
        texts: The number of messages.
    """

    model_config = example(texts=125)

    date: date
    texts: int


class LiftedRead(ReadModel):
    """When the campaign would be done without its obstacle, and which rule binds then.

    Attributes:
        p50_finish_at: The campaign ends by this time with a probability of 50 %.
        p90_finish_at: The campaign ends by this time with a probability of 90 %.
        binding_rule: The rule that decides when the campaign ends; null if no rule does.
    """

    p50_finish_at: Instant | None
    p90_finish_at: Instant | None
    binding_rule: Annotated[str, Vocabulary(StopRule)] | None
    detail: str


class AssumptionsRead(ReadModel):
    """What the forecast assumes.

    ``reply_rate`` decides who gets a follow-up. ``repeat_rate`` is the share of messages that are
    sent twice because it is unclear whether the first one arrived. ``replies_of`` and
    ``repeats_of`` are the numbers of messages on which these rates are measured; with few of them
    the rates are mostly assumed. ``people_by_place`` says whether the waiting people were counted
    per zone key or estimated from a sample.

    Attributes:
        begins_at: When the campaign begins.
        campaign_daily_limit: The daily limit of the campaign; null without one.
        line_daily_limit: The daily limit of the line.
        texts_per_second: The number of messages that the provider accepts in a second.
        competing_campaigns: The number of other campaigns that use the same line.
        competing_texts: The number of messages that these campaigns have yet to send.
        other_texts_a_day: Messages a day that others send from the line, as a decimal in a string.
        reply_rate: The share of people who reply.
        replies_of: The number of messages that the reply rate is measured on.
        repeat_rate: The share of attempts that are repeated.
        repeats_of: The number of attempts that the repeat rate is measured on.
        people_by_place: Whether the waiting recipients of each zone key were counted, or estimated
            from a sample.
        left_out: What the forecast leaves out, as sentences.
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
    """Recipients who do not wait for a message and are not in the forecast, and what to do.

    Attributes:
        review: The number of recipients that wait for a decision.
        held: The number of recipients with a hold on their number.
        unknown: The number of messages with an unclear result: sent or not.
    """

    model_config = example(review=4, detail="4 recipients wait for a review.")

    review: int
    held: int
    unknown: int
    detail: str


class ForecastRead(ReadModel):
    """When a campaign will be done, and the rule that binds it.

    The last message is sent by ``p50_finish_at`` with a probability of 50 %, by ``p90_finish_at``
    with 90 %. Both are null if that never happens; ``detail`` says why. ``binding_rule`` is the
    rule without which the campaign would be done soonest; null if no rule delays it. It has the
    names of ``explain``. ``days`` are at most the next 60 days, and empty for a campaign that may
    not send; ``later`` counts the messages after them. ``not_reached`` counts people who get no
    message before the campaign's end.

    Attributes:
        as_of: The time of the figures.
        p50_finish_at: The campaign ends by this time with a probability of 50 %.
        p90_finish_at: The campaign ends by this time with a probability of 90 %.
        binding_rule: The rule that decides when the campaign ends; null if no rule does.
        if_lifted: When the campaign would end without the binding rule.
        people_waiting: The number of recipients that wait for a message.
        texts: The number of messages.
        not_reached: The number of recipients that the campaign does not reach before its end.
        days: The messages of each day.
        later: The number of messages after the last day that is shown.
        assumptions: The assumptions of the forecast.
        outside: The recipients that the forecast does not cover.
    """

    model_config = example(
        status="running",
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
