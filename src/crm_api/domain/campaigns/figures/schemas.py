"""Response models of statistics and A/B tests."""

from crm_api.domain.campaigns.figures.experiment import ComparedMeasure, VariantTestStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Instant, ReadModel


class StatusCounts(ReadModel):
    """Recipients by status; each recipient has exactly one.

    Attributes:
        pending: The number of recipients that wait for their message.
        review: The number of recipients that wait for a decision.
        held: The number of recipients with a hold on their number.
        sending: The number of messages that are being sent.
        unknown: The number of messages with an unclear result: sent or not.
        sent: The number of messages that were sent.
        delivered: The number of messages that were delivered.
        failed: The number of messages that failed.
        skipped: The number of recipients that get no message.
        cancelled: The number of recipients that were cancelled with the campaign.
    """

    model_config = example(pending=111, review=4, sent=2, delivered=118, skipped=5)

    pending: int = 0
    review: int = 0
    held: int = 0
    sending: int = 0
    unknown: int = 0
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0


class RateInterval(ReadModel):
    """Wilson's interval of a rate, with four decimals; 95 of 100 intervals cover the true rate.

    Attributes:
        low: The lower end of the interval.
        high: The upper end of the interval.
    """

    model_config = example(low="0.0399", high="0.1365")

    low: str
    high: str


class VariantStats(ReadModel):
    """The results of one variant; ``sent`` includes delivered messages.

    ``response_rate`` and ``opt_out_rate`` are shares of ``sent``. ``delivery_rate`` is a share of
    sent and failed. A person who opted out also counts as replied. Rates and intervals are null
    before the first message.

    Attributes:
        recipients: The number of recipients.
        sent: The number of messages that were sent.
        delivered: The number of messages that were delivered.
        failed: The number of messages that failed.
        replied: The number of people who replied.
        opted_out: The number of people who opted out.
        response_rate: The share of recipients with a message who replied.
        response_interval: The 95 % interval of the rate.
        opt_out_rate: The share of recipients with a message who opted out.
        opt_out_interval: The 95 % interval of the rate.
        delivery_rate: The share of sent messages that were delivered.
        delivery_interval: The 95 % interval of the rate.
        stopped_at: When it was stopped; null otherwise.
        stopped_reason: Why the variant was stopped; null otherwise.
    """

    model_config = example(
        name="Short",
        recipients=240,
        sent=120,
        delivered=118,
        replied=9,
        opted_out=1,
        response_rate="0.0750",
        opt_out_rate="0.0083",
        opt_out_interval={"low": "0.0015", "high": "0.0457"},
        delivery_rate="0.9833",
        delivery_interval={"low": "0.9413", "high": "0.9954"},
    )

    name: str
    recipients: int
    sent: int
    delivered: int
    failed: int
    replied: int
    opted_out: int
    response_rate: str | None
    response_interval: RateInterval | None
    opt_out_rate: str | None
    opt_out_interval: RateInterval | None
    delivery_rate: str | None
    delivery_interval: RateInterval | None
    stopped_at: Instant | None
    stopped_reason: str | None


class VariantComparisonRead(ReadModel):
    """Two variants and whether one of their rates differs; ``higher`` is null if it may not.

    Attributes:
        measure: The rate that is compared.
        higher: The variant with the higher rate.
        e_value: The evidence against equal variants; see the page on campaigns.
        p_value: The probability of a difference this large between equal variants.
    """

    measure: ComparedMeasure
    variants: list[str]
    higher: str | None
    e_value: str
    p_value: str


class ABTestRead(ReadModel):
    """The result of the A/B test, valid however often it is read.

    The test compares the first messages, and the replies of people who did not opt out. ``p_value``
    is the winner's, corrected for the number of comparisons. It is null without a winner, and after
    the other variants were stopped; then the audit log has it.

    Attributes:
        winner: The better variant; null until it is decided.
        p_value: The probability of a difference this large between equal variants.
        min_per_variant: The number of messages of each variant before the test decides.
        comparisons: The comparison of each pair of variants.
        harmful: The variants that the test finds harmful.
        sentence: The result of the test, in words.
    """

    status: VariantTestStatus
    winner: str | None
    p_value: str | None
    min_per_variant: int
    comparisons: list[VariantComparisonRead]
    harmful: list[str]
    sentence: str


class CampaignStats(ReadModel):
    """The figures of a campaign at one step.

    ``by_status.sent`` counts the messages that are not yet reported as delivered. ``response_rate``
    is replies over all sent messages, delivered or not, with four decimals; null before the first
    message. ``ab_test`` is null if fewer than two variants have a share.

    Attributes:
        recipients_total: The number of recipients; null until the audience is written.
        by_status: The number of recipients in each status.
        parked: The number of messages that a person has to settle.
        replied: The number of people who replied.
        opted_out: The number of people who opted out.
        response_rate: The share of recipients with a message who replied.
        sent_today: The number of messages that were sent today.
        remaining_today: The number of messages that may still be sent today.
        estimated_finish_at: When the campaign is expected to end; null if that is not known.
    """

    model_config = example(
        recipients_total=240,
        replied=9,
        opted_out=1,
        response_rate="0.0750",
        sent_today=120,
        remaining_today=5,
        estimated_finish_at="2026-12-01T22:40:00.000Z",
    )

    recipients_total: int
    by_status: StatusCounts
    parked: int
    replied: int
    opted_out: int
    response_rate: str | None
    variants: list[VariantStats]
    ab_test: ABTestRead | None
    sent_today: int
    remaining_today: int
    estimated_finish_at: Instant | None
