"""Record the results of the demo's campaign: appointments, quotes, jobs and payments.

Results are recorded over the public API, only for people whose replies show interest. Then the
API's figures are compared with these results, and with the lists of records that the API returns
for the figures.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from crm_api.dev.demo.api import JSON, Api
from crm_api.dev.demo.figures import FigureCheck

ZONE = "America/New_York"
VISIT = timedelta(hours=1)
ROW_CENTS = 20
"""Price in cents of one row of the purchased list."""
QUOTES_CENTS = (285_000, 1_240_000, 640_000)
_RECORDED = ("appointments", "quotes", "jobs", "revenue_attributed")
_MEASURES = (
    *("reply_rate", "interested_rate", "appointments", "quotes", "jobs"),
    *("revenue_attributed", "cost", "cost_per_appointment", "return"),
)


@dataclass
class Story:
    """Counts of the results that the demo has recorded for its campaign.

    Attributes:
        people: The number of people whose replies show interest.
        counts: The number of recorded results, by the name of the measure, such as ``quotes``. The
            value of ``revenue_attributed`` is a sum in cents.
    """

    people: int
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_RECORDED, 0)))


def play_story(api: Api, *, campaign_id: str, rows: int) -> Story:
    """Record results of the campaign, for the people whose replies show interest.

    Every second person is visited now and gets a quote. Each of the other people books an
    appointment, as long as a free hour is left in the calendar. Half of the quotes are approved.

    Args:
        rows: The number of rows in the campaign's list. The demo records that each row was bought
            for ``ROW_CENTS``.

    Raises:
        DemoError: The API refuses a request.
    """
    people = _interested(api, campaign_id)
    story = Story(people=len(people))
    price = {"kind": "list_price", "amount_cents": rows * ROW_CENTS, "campaign_id": campaign_id}
    api.post("/v1/costs", {**price, "note": f"{rows:,} rows of the demo"})
    free = _free_hours(api)
    for index, contact_id in enumerate(people):
        if index % 2:
            if not free:
                continue
            _book(api, contact_id, free.pop(0))
        else:
            _visit(api, contact_id, index // 2, story)
        story.counts["appointments"] += 1
    return story


def compare_figures(api: Api, story: Story, *, campaign_id: str, replied: int) -> list[FigureCheck]:
    """Read the figures of the demo's campaign, each with three numerators (see ``FigureCheck``).

    Args:
        replied: The expected numerator of the reply rate: how many people replied, according to the
            campaign's statistics.

    Raises:
        DemoError: The API refuses a request.
    """
    recorded: dict[str, int] = {**story.counts, "reply_rate": replied}
    found = []
    for measure in _MEASURES:
        answer = api.get("/v1/insight", measure=measure, campaign_id=campaign_id)
        total = answer["total"]
        rows = list(api.pages(total["rows_url"]))
        found.append(
            FigureCheck(
                name=measure,
                figure=_shown(total, answer["unit"]),
                counted=_plain(total["numerator"]),
                rows=_count(rows, answer["unit"]),
                recorded=recorded.get(measure),
            )
        )
    return found


def _interested(api: Api, campaign_id: str) -> list[str]:
    """Return the ids of the contacts with an interested reply, in the order of these replies."""
    query = f"campaign_id={campaign_id}&direction=incoming&reply_class=interested"
    replies = [one for one in api.pages(f"/v1/messages?{query}") if one["contact_id"]]
    return list(dict.fromkeys(one["contact_id"] for one in reversed(replies)))


def _free_hours(api: Api) -> list[datetime]:
    """Return the start times of the free full hours in the next weeks, earliest first."""
    found = api.get("/v1/appointments/free", timezone=ZONE)["data"]
    hours = []
    for span in found:
        begin, end = (datetime.fromisoformat(span[name]) for name in ("starts_at", "ends_at"))
        whole = begin.replace(minute=0, second=0, microsecond=0)
        at = whole if whole == begin else whole + VISIT
        while at + VISIT <= end:
            hours.append(at)
            at += VISIT
    return hours


def _book(api: Api, contact_id: str, at: datetime) -> JSON:
    times = {"starts_at": at.isoformat(), "ends_at": (at + VISIT).isoformat()}
    return api.post("/v1/appointments", {"contact_id": contact_id, "timezone": ZONE, **times})


def _visit(api: Api, contact_id: str, index: int, story: Story) -> None:
    """Record a visit to a person, and the quote, job and payment that follow from the visit.

    Args:
        api: The client.
        contact_id: The contact.
        index: The position among the visited people, from 0. It decides how many of the steps
            (approved quote, job, payment) follow.
        story: The counts to increase.
    """
    # The visit must be at the current time of the service. It can differ from the time of this
    # machine, because the sandbox's clock may have been moved.
    now = api.get("/v1/insight", measure="appointments")["as_of"]
    visit = _book(api, contact_id, datetime.fromisoformat(now))
    api.patch(f"/v1/appointments/{visit['id']}", {"status": "held"})
    cents = QUOTES_CENTS[index % len(QUOTES_CENTS)]
    bill = {"contact_id": contact_id, "amount_cents": cents}
    quote = api.post("/v1/quotes", {**bill, "number": f"Q-{visit['id'][-12:]}", "status": "sent"})
    story.counts["quotes"] += 1
    if index % 2:
        return
    quote = api.patch(f"/v1/quotes/{quote['id']}", {"status": "approved"})
    if index % 4:
        return
    done = {"kind": "job_done", "contact_id": contact_id, "occurred_at": quote["status_at"]}
    api.post("/v1/outcomes", {**done, "amount_cents": cents})
    story.counts["jobs"] += 1
    invoice = api.post("/v1/invoices", {**bill, "number": f"INV-{visit['id'][-12:]}"})
    api.patch(f"/v1/invoices/{invoice['id']}", {"status": "paid"})
    story.counts["revenue_attributed"] += cents


def _count(rows: Sequence[JSON], unit: str) -> Decimal:
    """Return the numerator of a figure, computed from the records that the API lists for it."""
    if unit == "rate":
        return Decimal(sum(one["counted"] is True for one in rows))
    above = [one for one in rows if one["part"] != "denominator"]
    if all(one["amount"] is None for one in above):
        return Decimal(len(above))
    return sum((_plain(one["amount"]) for one in above), Decimal(0))


def _plain(value: Any) -> Decimal:  # noqa: ANN401 - an integer, text or null of JSON
    return Decimal(str(value or 0))


def _shown(total: JSON, unit: str) -> str:
    """Return a figure as a text to print. The text of a rate includes its confidence interval."""
    value = total["value"]
    if value is None:
        return "none"
    if unit == "cents":
        return f"${int(value) / 100:,.2f}"
    if unit != "rate":
        return str(value)
    low, high = (f"{float(total[name]):.1%}" for name in ("low", "high"))
    return f"{float(value):.1%} ({low} to {high})"
