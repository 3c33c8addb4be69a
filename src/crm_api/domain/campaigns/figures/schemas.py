"""Response models of campaign statistics and A/B tests."""

from crm_api.domain.campaigns.figures.experiment import ComparedMeasure, VariantTestStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel


class StatusCounts(ReadModel):
    """The numbers of recipients by status. Each recipient has exactly one status.

    Attributes:
        pending: Recipients that wait for their message.
        review: Recipients that wait until a user approves or rejects them.
        held: Recipients whose phone number is on hold until a user checks a reply.
        sending: Recipients whose message is being sent.
        unknown: Recipients for whom it is unclear whether the message was sent.
        sent: Recipients whose message was sent, but is not reported as delivered.
        delivered: Recipients whose message was delivered.
        failed: Recipients whose message failed.
        skipped: Recipients that get no message because of a rule.
        cancelled: Recipients that get no message because the campaign was cancelled or ended.
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
    """Wilson's 95 % interval of a rate: of 100 such intervals, about 95 contain the true rate.

    Attributes:
        low: The lower end of the interval, from 0 to 1 with four decimals.
        high: The upper end of the interval, from 0 to 1 with four decimals.
    """

    model_config = example(low="0.0399", high="0.1365")

    low: str
    high: str


class MessageOutcomes(ReadModel):
    """Counts and rates of the messages to a group of recipients, such as those of one variant.

    Rates are strings from 0 to 1 with four decimals. Rates and intervals are null before the first
    message.

    Attributes:
        recipients: The number of recipients to whom the message was assigned.
        sent: The number of messages that were sent, including delivered ones.
        delivered: The number of messages that were delivered.
        failed: The number of messages that failed.
        replied: The number of people who replied, including those who opted out by a reply.
        opted_out: The number of people who opted out.
        response_rate: ``replied`` divided by ``sent``.
        response_interval: The 95 % interval of ``response_rate``.
        opt_out_rate: ``opted_out`` divided by ``sent``.
        opt_out_interval: The 95 % interval of ``opt_out_rate``.
        delivery_rate: ``delivered`` divided by the sum of ``sent`` and ``failed``.
        delivery_interval: The 95 % interval of ``delivery_rate``.
    """

    model_config = example(
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


class VariantStats(MessageOutcomes):
    """The statistics of one variant at one step of a campaign.

    Rates are strings from 0 to 1 with four decimals. Rates and intervals are null before the first
    message.

    Attributes:
        name: The name of the variant.
        stopped_at: When an A/B test stopped the variant; null if it is still sent.
        stopped_reason: ``harmful``: more people opted out than after another variant; ``lost``:
            another variant got more replies; null if it is still sent.
    """

    model_config = example(MessageOutcomes, name="Short")

    name: str
    stopped_at: Instant | None
    stopped_reason: str | None


class TemplateVersionStats(MessageOutcomes):
    """The statistics of the messages that were made from one version of a template.

    Attributes:
        version: The number of the version; null for bodies that were copied before templates had
            versions.
        campaigns: The number of started campaigns that used the version.
    """

    model_config = example(MessageOutcomes, version=1, campaigns=2)

    version: int | None
    campaigns: int


class TemplateStats(MessageOutcomes):
    """The statistics of all messages that were made from a template, in all campaigns.

    A person who got the template in two campaigns counts twice.

    Attributes:
        template_id: The id of the template.
        campaigns: The number of started campaigns that used the template.
        versions: The statistics of each version that was used, the oldest first.
    """

    model_config = example(MessageOutcomes, campaigns=2)

    template_id: Id
    campaigns: int
    versions: list[TemplateVersionStats]


class VariantComparisonRead(ReadModel):
    """The comparison of two variants by the rate of replies or of opt-outs.

    Attributes:
        measure: The rate that is compared.
        variants: The names of the two variants, the higher rate first.
        higher: The name of the variant with the higher rate; null if chance may explain the
            difference.
        e_value: The strength of the evidence that the rates differ: 1 or less is no evidence, 20 is
            strong evidence.
        p_value: If the rates were equal, the probability (0 to 1) of evidence at least this strong;
            corrected for the number of comparisons.
    """

    measure: ComparedMeasure
    variants: list[str]
    higher: str | None
    e_value: str
    p_value: str


class ABTestRead(ReadModel):
    """The result of the A/B test of a campaign.

    The test compares the first messages by replies and by opt-outs. Replies of people who opted out
    are not counted. You may look at the result at any time: looking often does not make a wrong
    result more likely.

    Attributes:
        status: The result of comparing the reply rates.
        winner: The name of the variant that gets more replies than all others; null if there is
            none, or if it is harmful.
        p_value: The p-value of the winner, corrected for the number of comparisons. Null if there
            is no winner. Null if all other variants are stopped: see the audit log.
        min_per_variant: The number of messages from which a variant is compared.
        comparisons: The comparisons of each pair of variants. Variants that are stopped or have too
            few messages are left out.
        harmful: The names of the variants with a higher rate of opt-outs than another variant.
        sentence: The result of the test, as a sentence.
    """

    status: VariantTestStatus
    winner: str | None
    p_value: str | None
    min_per_variant: int
    comparisons: list[VariantComparisonRead]
    harmful: list[str]
    sentence: str


class CampaignStats(ReadModel):
    """The statistics of one step of a campaign.

    Step 0 is the first message, step 1 is the first follow-up, and so on.

    Attributes:
        recipients_total: The number of recipients at this step. It grows while the audience is
            being stored.
        by_status: The numbers of recipients by status.
        parked: The number of ``unknown`` recipients for whom a user must decide whether the message
            was sent.
        replied: The number of people who replied, including those who opted out by a reply.
        opted_out: The number of people who opted out.
        response_rate: ``replied`` divided by the number of messages sent or delivered, from 0 to 1
            with four decimals; null before the first message.
        variants: The statistics of each variant at this step.
        ab_test: The result of the A/B test; null if fewer than two variants have a weight above 0.
        sent_today: The number of messages that the campaign sent today, in the line's time zone.
        remaining_today: The number of messages that the campaign's daily limit still allows today.
        estimated_finish_at: When the last message will probably be sent; null if the campaign is
            not scheduled or running, or the instant cannot be estimated.
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
