"""All measures, each with its name, definition, unit and record query."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from crm_api.domain.insight.measures import queries
from crm_api.domain.insight.measures.dimensions import (
    OF_CAMPAIGN,
    OF_PERSON,
    OF_REPLY,
    OF_TIME,
    Dimension,
)
from crm_api.domain.insight.measures.record_query import RecordQuery


class Unit(StrEnum):
    """The unit of a figure.

    Attributes:
        COUNT: A number of records. The number can have decimals, because a campaign can get a share
            of an outcome.
        RATE: A part of a whole, from 0 to 1.
        CENTS: Money, in cents of US dollars.
        SECONDS: The median of durations, in seconds.
        RATIO: Money divided by money.
    """

    COUNT = "count"
    RATE = "rate"
    CENTS = "cents"
    SECONDS = "seconds"
    RATIO = "ratio"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure, such as the reply rate, with the SQL from which its figures are computed.

    Attributes:
        numerator: What is counted or summed, in words.
        denominator: What the numerator is divided by; for a median, the records. None for counts
            and sums.
        by_campaign: The record query for breakdowns and filters by campaign, if it differs from
            ``query``.
        by: The allowed breakdowns.
        is_sum: True if the amounts of the records are summed; False if the records are counted.
        quotient_of: The two measures of a quotient, numerator first; None for all other measures.
    """

    name: str
    definition: str
    numerator: str
    denominator: str | None
    unit: Unit
    query: RecordQuery
    by: frozenset[Dimension]
    by_campaign: RecordQuery | None = None
    is_sum: bool = False
    quotient_of: "tuple[Measure, Measure] | None" = None

    def query_for(self, by: Dimension | None, *, is_of_campaign: bool) -> RecordQuery:
        """Return the query for the records that this measure counts.

        Args:
            by: The breakdown of the figures; None if the figures are not broken down.
            is_of_campaign: True if the figures are filtered by campaign, line, list or step.
        """
        if self.by_campaign is not None and (is_of_campaign or by in OF_CAMPAIGN):
            return self.by_campaign
        return self.query


_REACHED = "m.status IN ('sent', 'delivered')"
_TRIED = "m.status IN ('sent', 'delivered', 'failed')"
_ALL = OF_CAMPAIGN | OF_PERSON | OF_TIME
_OF_OUTCOME = _ALL
_OF_MESSAGE = _ALL | OF_REPLY
_72_HOURS = timedelta(hours=72)
_24_HOURS = timedelta(hours=24)


def _people(
    name: str,
    definition: str,
    numerator: str,
    counted: str,
    *,
    sum_of_counted: str,
) -> Measure:
    return Measure(
        name=name,
        definition=definition,
        numerator=numerator,
        denominator="people who got a message of the campaign",
        unit=Unit.RATE,
        query=queries.messages_with_sums(
            counted=counted,
            where=_REACHED,
            first_step=True,
            ripe_after=_72_HOURS,
            sum_of_records="t.sent",
            sum_of_counted=sum_of_counted,
        ),
        by=_OF_MESSAGE,
    )


def _of_tried(
    name: str, definition: str, numerator: str, counted: str, *, sum_of_counted: str
) -> Measure:
    return Measure(
        name=name,
        definition=definition,
        numerator=numerator,
        denominator="messages that were sent or failed",
        unit=Unit.RATE,
        query=queries.messages_with_sums(
            counted=counted,
            where=_TRIED,
            first_step=False,
            ripe_after=_24_HOURS,
            sum_of_records="t.sent + t.failed",
            sum_of_counted=sum_of_counted,
        ),
        by=_OF_MESSAGE,
    )


def _outcomes(name: str, kind: str, what: str) -> Measure:
    return Measure(
        name=name,
        definition=f"{what} Reversed outcomes do not count. By campaign, variant, step, list or "
        "line, an outcome counts for each message to which it is credited, by the credited share.",
        numerator=f"outcomes of the kind {kind}",
        denominator=None,
        unit=Unit.COUNT,
        query=queries.outcomes(kind),
        by_campaign=queries.credits_of(kind, amount=queries.SHARE),
        by=_OF_OUTCOME,
    )


PAID = "invoice_paid"
_PLAIN: dict[str, Measure] = {
    one.name: one
    for one in (
        Measure(
            name="messages",
            definition="Messages of campaigns that the provider accepted, follow-ups included.",
            numerator="messages that were sent or delivered",
            denominator=None,
            unit=Unit.COUNT,
            query=queries.messages_with_sums(
                counted="true",
                where=_REACHED,
                first_step=False,
                ripe_after=timedelta(),
                sum_of_records="t.sent",
                sum_of_counted="t.sent",
            ),
            by=_OF_MESSAGE,
        ),
        _of_tried(
            "delivered_rate",
            "Delivered messages, as a share of all campaign messages that were sent or failed.",
            "messages that were delivered",
            "m.status = 'delivered'",
            sum_of_counted="t.delivered",
        ),
        _of_tried(
            "failure_rate",
            "Failed messages, as a share of all campaign messages that were sent or failed.",
            "messages that failed",
            "m.status = 'failed'",
            sum_of_counted="t.failed",
        ),
        _people(
            "reply_rate",
            "People who replied to a campaign within 72 hours of a message (opt-outs included), as "
            "a share of the people who got its first message. By step, as a share of the people "
            "who got the message of that step.",
            "people who replied",
            "m.replied_at IS NOT NULL",
            sum_of_counted="t.replied",
        ),
        _people(
            "interested_rate",
            "People who replied to a campaign with interest, as a share of the people who got its "
            "first message. A rule or a user decides whether a reply shows interest.",
            "people with a reply of the class interested",
            "m.replied_at IS NOT NULL AND m.is_interested",
            sum_of_counted="t.interested",
        ),
        _people(
            "opt_out_rate",
            "People who opted out by a reply to a campaign, as a share of the people who got its "
            "first message.",
            "people who opted out",
            "m.opted_out_at IS NOT NULL",
            sum_of_counted="t.opted_out",
        ),
        Measure(
            name="replies",
            definition="People who replied to a campaign, opt-outs included.",
            numerator="people who replied",
            denominator=None,
            unit=Unit.COUNT,
            query=queries.messages_with_sums(
                counted="true",
                where=f"{_REACHED} AND m.replied_at IS NOT NULL",
                first_step=True,
                ripe_after=_72_HOURS,
                sum_of_records="t.replied",
                sum_of_counted="t.replied",
            ),
            by=_OF_MESSAGE,
        ),
        Measure(
            name="time_to_reply",
            definition="The median time from a message to the person's first reply. Only people "
            "who replied to a campaign count.",
            numerator="seconds from the message to the reply",
            denominator="people who replied",
            unit=Unit.SECONDS,
            query=queries.replies(
                where=f"{_REACHED} AND m.replied_at IS NOT NULL AND m.replied_at >= m.sent_at",
                ripe_after=_72_HOURS,
            ),
            by=_OF_MESSAGE,
        ),
        Measure(
            name="time_to_answer",
            definition="The median time from a person's first unanswered message to the answer of "
            "a user.",
            numerator="seconds from the person's message to the answer",
            denominator="answers of users",
            unit=Unit.SECONDS,
            query=queries.ANSWERS,
            by=OF_PERSON | OF_TIME,
        ),
        _outcomes("appointments", "appointment_booked", "Appointments that were booked."),
        _outcomes("quotes", "quote_sent", "Quotes that were sent."),
        _outcomes("jobs", "job_done", "Jobs that were done."),
        Measure(
            name="revenue",
            definition="The money of paid invoices. Reversed outcomes do not count. By campaign, "
            "variant, step, list or line, the row without a key is the money that is credited to "
            "no message.",
            numerator="cents of paid invoices",
            denominator=None,
            unit=Unit.CENTS,
            query=queries.outcomes(PAID),
            by_campaign=queries.credits_of(PAID, amount="k.cents"),
            by=_OF_OUTCOME,
            is_sum=True,
        ),
        Measure(
            name="revenue_attributed",
            definition="The part of the money of paid invoices that the attribution rules credit "
            "to messages.",
            numerator="cents of paid invoices that are credited to messages",
            denominator=None,
            unit=Unit.CENTS,
            query=queries.credits_of(PAID, amount="k.cents", where="k.membership_id IS NOT NULL"),
            by=_OF_OUTCOME,
            is_sum=True,
        ),
        Measure(
            name="revenue_unattributed",
            definition="The part of the money of paid invoices that the attribution rules credit "
            "to no message.",
            numerator="cents of paid invoices that are credited to no message",
            denominator=None,
            unit=Unit.CENTS,
            query=queries.credits_of(PAID, amount="k.cents", where="k.membership_id IS NULL"),
            by=OF_PERSON | OF_TIME,
            is_sum=True,
        ),
        Measure(
            name="cost",
            definition="The costs of messages and all costs that were entered. An accepted "
            "message costs one cent for each of its segments.",
            numerator="cents of messages and entered costs",
            denominator=None,
            unit=Unit.CENTS,
            query=queries.COSTS,
            by=_ALL,
            is_sum=True,
        ),
    )
}


def _quotient(
    name: str, definition: str, numerator: str, denominator: str, unit: Unit = Unit.CENTS
) -> Measure:
    operands = _PLAIN[numerator], _PLAIN[denominator]
    return Measure(
        name=name,
        definition=definition,
        numerator=operands[0].numerator,
        denominator=operands[1].numerator,
        unit=unit,
        query=operands[1].query,
        by=operands[0].by & operands[1].by,
        quotient_of=operands,
    )


MEASURES: dict[str, Measure] = _PLAIN | {
    one.name: one
    for one in (
        _quotient(
            "cost_per_reply", "The cost, divided by the people who replied.", "cost", "replies"
        ),
        _quotient(
            "cost_per_appointment",
            "The cost, divided by the appointments that were booked.",
            "cost",
            "appointments",
        ),
        _quotient("cost_per_job", "The cost, divided by the jobs that were done.", "cost", "jobs"),
        _quotient(
            "return",
            "The money that the attribution rules credit to messages, divided by the cost.",
            "revenue_attributed",
            "cost",
            Unit.RATIO,
        ),
    )
}
"""Every measure, by its name."""
