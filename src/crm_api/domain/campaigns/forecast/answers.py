"""The answer to "when will this campaign be done"."""

from datetime import date
from typing import Literal

from crm_api.domain.campaigns.models import CampaignStatus
from crm_api.domain.schemas import Id, Instant, ReadModel


class DayTexts(ReadModel):
    """A day of the line, in its time zone, and how many texts of the campaign go on it."""

    date: date
    texts: int


class LiftedRead(ReadModel):
    """When it would be done if what stands in its way were lifted now, and what binds then."""

    p50_finish_at: Instant | None
    p90_finish_at: Instant | None
    binding_rule: str | None
    detail: str


class AssumptionsRead(ReadModel):
    """What the forecast takes for granted.

    ``reply_rate`` decides who gets a follow-up, ``repeat_rate`` is of texts that go twice since
    nobody knows whether the first arrived. ``replies_of`` and ``repeats_of`` are the texts on which
    they are measured; the fewer, the more is assumed. ``people_by_place`` says whether those who
    wait were counted in each place or told by a sample.
    """

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


class OutsideRead(ReadModel):
    """Who waits for something else than a text and is not in the forecast, and what to do."""

    review: int
    held: int
    unknown: int
    detail: str


class ForecastRead(ReadModel):
    """When a campaign will be done, and the rule that binds it.

    As likely as not the last text goes by ``p50_finish_at``, in nine cases of ten by
    ``p90_finish_at``; null where that is never, and ``detail`` says why. ``binding_rule`` has the
    names of ``explain``, is the one without which it would be done soonest, and null where nothing
    holds it up. ``days`` are at most the next 60 days, of a campaign that may send; ``later`` is
    what goes after them. ``not_reached`` is who gets no text before the campaign's end.
    """

    campaign_id: Id
    status: CampaignStatus
    as_of: Instant
    p50_finish_at: Instant | None
    p90_finish_at: Instant | None
    binding_rule: str | None
    detail: str
    if_lifted: LiftedRead | None
    people_waiting: int
    texts: int
    not_reached: int
    days: list[DayTexts]
    later: int
    assumptions: AssumptionsRead
    outside: OutsideRead
