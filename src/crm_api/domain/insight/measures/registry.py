"""The list of all measures, each with its name, definition, unit and records."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from crm_api.domain.insight.measures import bases, outcome_bases
from crm_api.domain.insight.measures.bases import Base
from crm_api.domain.insight.measures.dimensions import (
    OF_CAMPAIGN,
    OF_PERSON,
    OF_REPLY,
    OF_TIME,
    Dimension,
)


class Unit(StrEnum):
    """The unit of a figure.

    Attributes:
        COUNT: A number of records. It can have decimals, because one outcome can be divided among
            several campaigns.
        RATE: A part of a whole, from 0 to 1.
        CENTS: Money, in cents of US dollars.
        SECONDS: The median of times, in seconds.
        RATIO: Money divided by money.
    """

    COUNT = "count"
    RATE = "rate"
    CENTS = "cents"
    SECONDS = "seconds"
    RATIO = "ratio"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure, such as the reply rate.

    Attributes:
        definition: What the measure is, in a sentence.
        numerator: What is counted or summed, in words.
        denominator: The total that the numerator is a part of, in words; None if there is none.
        base: The records that are counted.
        by_campaign: The records for breakdowns by campaign, if these differ from ``base``.
        by: The allowed breakdowns.
        is_sum: True: the amounts of the records are summed. False: the records are counted.
        divided: For a quotient of two measures, such as the cost per reply: the numerator and the
            denominator. None for all other measures.
    """

    name: str
    definition: str
    numerator: str
    denominator: str | None
    unit: Unit
    base: Base
    by: frozenset[Dimension]
    by_campaign: Base | None = None
    is_sum: bool = False
    divided: "tuple[Measure, Measure] | None" = None

    def base_for(self, by: Dimension | None, *, is_of_campaign: bool) -> Base:
        """Return the records for a breakdown.

        Args:
            by: The breakdown.
            is_of_campaign: Whether there is a filter by campaign, phone line, list or step.
        """
        if self.by_campaign is not None and (is_of_campaign or by in OF_CAMPAIGN):
            return self.by_campaign
        return self.base


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
    kept: str,
) -> Measure:
    return Measure(
        name=name,
        definition=definition,
        numerator=numerator,
        denominator="people who got a message of the campaign",
        unit=Unit.RATE,
        base=bases.kept_messages(
            counted=counted,
            among=_REACHED,
            first_step=True,
            ripe=_72_HOURS,
            kept_records="t.sent",
            kept_counted=kept,
        ),
        by=_OF_MESSAGE,
    )


def _of_tried(name: str, definition: str, numerator: str, counted: str, *, kept: str) -> Measure:
    return Measure(
        name=name,
        definition=definition,
        numerator=numerator,
        denominator="messages that were sent or failed",
        unit=Unit.RATE,
        base=bases.kept_messages(
            counted=counted,
            among=_TRIED,
            first_step=False,
            ripe=_24_HOURS,
            kept_records="t.sent + t.failed",
            kept_counted=kept,
        ),
        by=_OF_MESSAGE,
    )


def _outcomes(name: str, kind: str, what: str) -> Measure:
    return Measure(
        name=name,
        definition=f"{what} Reversed ones do not count. By campaign, variant, step, list or line, "
        "each counts for the messages that earned it, by its shares.",
        numerator=f"outcomes of the kind {kind}",
        denominator=None,
        unit=Unit.COUNT,
        base=outcome_bases.outcomes(kind),
        by_campaign=outcome_bases.credits_of(kind, amount=outcome_bases.SHARE),
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
            base=bases.kept_messages(
                counted="true",
                among=_REACHED,
                first_step=False,
                ripe=timedelta(),
                kept_records="t.sent",
                kept_counted="t.sent",
            ),
            by=_OF_MESSAGE,
        ),
        _of_tried(
            "delivered_rate",
            "Messages of campaigns that were delivered, of those that were sent or failed.",
            "messages that were delivered",
            "m.status = 'delivered'",
            kept="t.delivered",
        ),
        _of_tried(
            "failure_rate",
            "Messages of campaigns that failed, of those that were sent or failed.",
            "messages that failed",
            "m.status = 'failed'",
            kept="t.failed",
        ),
        _people(
            "reply_rate",
            "People who replied to a campaign within 72 hours of a message, opt-outs included, of "
            "the people who got its first message. By step: of those who got the message of the "
            "step.",
            "people who replied",
            "m.replied_at IS NOT NULL",
            kept="t.replied",
        ),
        _people(
            "interested_rate",
            "People who replied to a campaign with interest, as the rule or a user classed a "
            "reply, of the people who got its first message.",
            "people with a reply of the class interested",
            "m.replied_at IS NOT NULL AND m.is_interested",
            kept="t.interested",
        ),
        _people(
            "opt_out_rate",
            "People who opted out by a reply to a campaign, of the people who got its first "
            "message.",
            "people who opted out",
            "m.opted_out_at IS NOT NULL",
            kept="t.opted_out",
        ),
        Measure(
            name="replies",
            definition="People who replied to a campaign, opt-outs included.",
            numerator="people who replied",
            denominator=None,
            unit=Unit.COUNT,
            base=bases.kept_messages(
                counted="true",
                among=f"{_REACHED} AND m.replied_at IS NOT NULL",
                first_step=True,
                ripe=_72_HOURS,
                kept_records="t.replied",
                kept_counted="t.replied",
            ),
            by=_OF_MESSAGE,
        ),
        Measure(
            name="time_to_reply",
            definition="The median time from a message to the person's first reply, of the people "
            "who replied to a campaign.",
            numerator="seconds from the message to the reply",
            denominator="people who replied",
            unit=Unit.SECONDS,
            base=bases.replies(
                among=f"{_REACHED} AND m.replied_at IS NOT NULL AND m.replied_at >= m.sent_at",
                ripe=_72_HOURS,
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
            base=bases.ANSWERS,
            by=OF_PERSON | OF_TIME,
        ),
        _outcomes("appointments", "appointment_booked", "Appointments that were booked."),
        _outcomes("quotes", "quote_sent", "Quotes that were sent."),
        _outcomes("jobs", "job_done", "Jobs that were done."),
        Measure(
            name="revenue",
            definition="The money of paid invoices. Reversed ones do not count. By campaign, "
            "variant, step, list or line, the row without a key is what no message earned.",
            numerator="cents of paid invoices",
            denominator=None,
            unit=Unit.CENTS,
            base=outcome_bases.outcomes(PAID),
            by_campaign=outcome_bases.credits_of(PAID, amount="k.cents"),
            by=_OF_OUTCOME,
            is_sum=True,
        ),
        Measure(
            name="revenue_attributed",
            definition="The part of the money of paid invoices that messages earned, by the "
            "attribution rules.",
            numerator="cents of paid invoices that are credited to messages",
            denominator=None,
            unit=Unit.CENTS,
            base=outcome_bases.credits_of(
                PAID, amount="k.cents", among="k.membership_id IS NOT NULL"
            ),
            by=_OF_OUTCOME,
            is_sum=True,
        ),
        Measure(
            name="revenue_unattributed",
            definition="The part of the money of paid invoices that no message earned, by the "
            "attribution rules.",
            numerator="cents of paid invoices that are credited to no message",
            denominator=None,
            unit=Unit.CENTS,
            base=outcome_bases.credits_of(PAID, amount="k.cents", among="k.membership_id IS NULL"),
            by=OF_PERSON | OF_TIME,
            is_sum=True,
        ),
        Measure(
            name="cost",
            definition="What was paid: each accepted message at one cent for a segment, and the "
            "costs that were entered.",
            numerator="cents of messages and entered costs",
            denominator=None,
            unit=Unit.CENTS,
            base=bases.COSTS,
            by=_ALL,
            is_sum=True,
        ),
    )
}


def _divided(
    name: str, definition: str, numerator: str, denominator: str, unit: Unit = Unit.CENTS
) -> Measure:
    parts = _PLAIN[numerator], _PLAIN[denominator]
    return Measure(
        name=name,
        definition=definition,
        numerator=parts[0].numerator,
        denominator=parts[1].numerator,
        unit=unit,
        base=parts[1].base,
        by=parts[0].by & parts[1].by,
        divided=parts,
    )


MEASURES: dict[str, Measure] = _PLAIN | {
    one.name: one
    for one in (
        _divided(
            "cost_per_reply", "The cost, divided by the people who replied.", "cost", "replies"
        ),
        _divided(
            "cost_per_appointment",
            "The cost, divided by the appointments that were booked.",
            "cost",
            "appointments",
        ),
        _divided("cost_per_job", "The cost, divided by the jobs that were done.", "cost", "jobs"),
        _divided(
            "return",
            "The money that messages earned by the attribution rules, divided by the cost.",
            "revenue_attributed",
            "cost",
            Unit.RATIO,
        ),
    )
}
"""Every measure, by its name."""
