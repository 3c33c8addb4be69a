"""Write the mail of the daily digest.

The mail is also sent if nothing happened. So a missing mail shows that the service does not work.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from crm_api.domain.insight.measures.figures import Figure
from crm_api.domain.monitoring.daily_digest.digest import (
    Digest,
    MessageFigures,
    StoppedSender,
    WeekFigures,
)

DAY = timedelta(hours=25)
"""The length of the longest possible day, on which the clocks are set back by an hour."""


def write_digest_mail(digest: Digest, *, name: str, api_url: str) -> tuple[str, str]:
    """Return the subject and the plain text of the daily digest mail.

    Args:
        digest: The content.
        name: The name of the business, for the subject.
        api_url: The public URL of this service, for the links.
    """
    waiting = list(_waiting(digest, api_url))
    body = [
        f"What happened on {_span(digest)} (time zone {digest.zone}).",
        "",
        *_section("SENT AND ANSWERED", list(_happened(digest))),
        *_section(f"THE LAST 7 DAYS: {_days(digest)}", list(_week(digest.week))),
        *_section("TO DO", waiting),
        "--",
        "This mail comes every morning, even if nothing happened. If it does not come, look at",
        f"{api_url}/readyz",
    ]
    return _subject(digest, name=name, waiting=len(waiting)), "\n".join(body) + "\n"


def _subject(digest: Digest, *, name: str, waiting: int) -> str:
    sent = sum(one.sent for one in digest.texts)
    answered = sum(one.answered for one in digest.texts)
    summary = (
        f"{_many(sent, 'text')}, {_many(answered, 'answer')}, {_many(digest.opt_outs, 'opt-out')}"
        if sent or answered or digest.opt_outs
        else "a quiet day"
    )
    more = f"; {_many(waiting, 'thing')} to do" if waiting else ""
    whose = " ".join(name.split())  # the subject of a mail must be one line
    return f"[{whose}] {_last_day(digest):%a %d %b}: {summary}{more}"


def _happened(digest: Digest) -> Iterator[str]:
    for one in digest.texts:
        yield _texts(one)
    if digest.opt_outs:
        yield f"Opted out in any way: {_many(digest.opt_outs, 'number')}"


def _texts(one: MessageFigures) -> str:
    parts = [_many(one.sent, "text")] if one.sent or one.name is not None else []
    if one.sent:
        parts.append(f"{one.delivered:,} delivered")
    if one.failed:
        parts.append(f"{one.failed:,} failed")
    if one.answered:
        wrote = "people wrote" if one.answered != 1 else "person wrote"
        parts.append(f"{one.answered:,} {wrote} {_many(one.received, 'text')}")
    if one.opted_out:
        parts.append(f"{one.opted_out:,} of them opted out")
    return f"{one.name or 'Outside campaigns'}: {', '.join(parts)}"


def _week(week: WeekFigures) -> Iterator[str]:
    yield f"Sent and not failed: {_many(int(week.messages.value or 0), 'text')} of campaigns"
    replied = week.reply_rate
    if replied.denominator:
        yield f"Replied: {_part(replied)}, {_interval(replied)}"
        if replied.unripe:
            people = _many(replied.unripe, "person", "people")
            yield f"Replies may still come from {people} of the last 72 hours"
        yield f"Opted out by a reply: {_part(week.opt_out_rate)}"
    yield f"Appointments booked: {week.appointments.value}"
    paid = f"Paid: {_dollars(week.revenue)}"
    if week.revenue_attributed is not None:
        paid += f"; texts led to {_dollars(week.revenue_attributed)} of it"
    yield paid
    yield f"Cost: {_dollars(week.cost)}"


def _part(figure: Figure) -> str:
    people = _many(int(figure.denominator or 0), "person", "people")
    return f"{int(figure.numerator or 0):,} of {people}"


def _interval(figure: Figure) -> str:
    low, value, high = (
        f"{100 * float(one or 0):.1f} %" for one in (figure.low, figure.value, figure.high)
    )
    return f"{value} (95 % interval {low} to {high})"


def _dollars(figure: Figure) -> str:
    return f"${int(figure.value or 0) / 100:,.2f}"


def _days(digest: Digest) -> str:
    first = digest.week.since.astimezone(ZoneInfo(digest.zone))
    return f"{first:%A %d %B} to {_last_day(digest):%A %d %B}"


def _waiting(digest: Digest, api_url: str) -> Iterator[str]:
    for line in digest.lines:
        lift = f"POST {api_url}/v1/lines/{line.id}/unblock"
        yield f"{_why('Line', line)} It sends nothing. Remove the cause, then:\n  {lift}"
    for campaign in digest.campaigns:
        yield f"{_why('Campaign', campaign)}\n  {api_url}/v1/campaigns/{campaign.id}"
    if digest.held:
        yield (
            f"Numbers on hold: {digest.held:,}. Their replies may be opt-outs, so campaigns skip "
            "them\n  until you decide: POST …/opt-out or …/opt-in of the contact."
        )
    if digest.in_review:
        yield (
            f"Recipients in review: {digest.in_review:,}. They got a message before. Approve or "
            "reject them."
        )
    if digest.parked:
        yield (
            f"Messages that may or may not have been sent: {digest.parked:,}. Look in OpenPhone, "
            "then\n  POST …/recipients/{contact_id}/settle of the campaign."
        )
    if digest.overdue:
        yield f"Overdue tasks: {digest.overdue:,}.\n  {api_url}/v1/tasks?overdue=true"
    if digest.dead:
        yield (
            f"Received events that could not be applied: {digest.dead:,}.\n"
            f"  {api_url}/v1/webhook-events?status=dead"
        )
    if digest.alerts:
        kinds = ", ".join(f"{one.kind.replace('_', ' ')} ({one.count})" for one in digest.alerts)
        yield f"Alerts that nobody has acknowledged: {kinds}.\n  {api_url}/v1/alerts?status=open"


def _why(what: str, stopped: StoppedSender) -> str:
    reason = f": {stopped.reason.replace('_', ' ')}" if stopped.reason else ""
    return f"{what} {stopped.name} is {stopped.status}{reason}."


def _section(heading: str, items: Sequence[str]) -> list[str]:
    lines = [f"* {item}" for item in items] or ["Nothing."]
    return [heading, "=" * len(heading), "", *lines, ""]


def _span(digest: Digest) -> str:
    last = f"{_last_day(digest):%A %d %B %Y}"
    if digest.until - digest.since <= DAY:
        return last
    first = digest.since.astimezone(ZoneInfo(digest.zone))
    return f"the days from {first:%A %d %B} to {last}"


def _last_day(digest: Digest) -> datetime:
    return (digest.until - timedelta(seconds=1)).astimezone(ZoneInfo(digest.zone))


def _many(count: int, what: str, several: str | None = None) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {several or what + 's'}"
