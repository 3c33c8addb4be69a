"""Report alerts by mail: what happened, how often, and what to do.

A process claims the changes that a mail must report (the news), sends the mail, and then calls
``settle_news``. If the process dies before this call, the claim expires, and another process sends
the mail. So a change may be reported twice.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts.models import News
from crm_api.platform.database import UnitOfWork, typed_rows

# These rules decide which changes of an alert a mail reports:
#
# - An alert that was resolved before its first report is not reported.
# - If an alert was reported as open, its end is also reported.
# - During the quiet period after a report, the alert is not reported again, even if the problem
#   happens again. The quiet period is shorter after a report that the alert was resolved.
_REPORTED = "(n.told_as IS NOT NULL AND n.told_as <> 'resolved' AND n.told_at >= a.opened_at)"

_QUIET_IS_OVER = """(n.told_at IS NULL
    OR n.told_at <= CAST(:now AS timestamptz) - make_interval(
        secs => CASE WHEN n.told_as = 'resolved'
            THEN least(CAST(:quiet AS float8), CAST(:quiet_after_over AS float8))
            ELSE CAST(:quiet AS float8) END))"""

_NEWS = f"""CASE
    WHEN a.resolved_at IS NOT NULL THEN
        CASE WHEN n.told_as IN ('opened', 'escalated') THEN 'resolved' END
    WHEN a.acknowledged_at IS NOT NULL THEN NULL
    WHEN NOT coalesce({_REPORTED}, false) THEN CASE WHEN {_QUIET_IS_OVER} THEN 'opened' END
    WHEN n.told_as = 'opened'
        AND a.opened_at <= CAST(:now AS timestamptz) - make_interval(secs => :escalate_after)
        THEN 'escalated'
    WHEN a.count > n.told_count AND {_QUIET_IS_OVER} THEN 'repeated'
    END"""


MOST_AT_ONCE = 1_000
CLAIM_SECONDS = 120
"""For how many seconds one process reserves changes of alerts in order to report them. Sending a
report takes less time."""


@dataclass(frozen=True, kw_only=True)
class NoticePolicy:
    """The rules by which mail reports news about alerts.

    Attributes:
        quiet: After a report, the problem of an alert may happen again. It is then reported again
            only when this time has passed since the report. Other news, such as the end of a
            problem, is reported without this wait.
        escalate_after: An alert that is open and not acknowledged for this long is reported once
            more.
        quiet_after_over: If the last report said that the problem has ended, the shorter of
            ``quiet_after_over`` and ``quiet`` is used instead of ``quiet``.
        gap: The shortest time between two mails.
        leaves_out: The kinds of alerts that no mail reports, such as a failure of the mail server.
    """

    quiet: timedelta
    escalate_after: timedelta
    quiet_after_over: timedelta = timedelta(minutes=10)
    gap: timedelta = timedelta(seconds=55)
    leaves_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlertNews:
    """An alert that must be reported, and what has changed about it since its last report.

    Attributes:
        count: How often the problem has happened in total.
        new: How often the problem has happened since the last report.
    """

    alert_id: UUID
    news: News
    kind: str
    subject: str
    detail: str
    context: dict[str, Any]
    count: int
    new: int
    first_seen_at: datetime
    last_seen_at: datetime
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ClaimedNews:
    """Changes of alerts that one process has claimed in order to report them.

    Attributes:
        channel: The way to report the changes, such as mail.
        claimed_at: When the claim began.
        until: When the claim expires. This instant also identifies the claim.
        news: The changes, those of the oldest alert first.
    """

    channel: str
    claimed_at: datetime
    until: datetime
    news: Sequence[AlertNews]


# With this lock, only one transaction at a time claims (reserves) changes of alerts for a channel.
# The statement CLAIM runs after this statement, so it sees the result of the previous claim.
LOCK_CHANNEL = text("SELECT pg_advisory_xact_lock(hashtextextended('alert news ' || :channel, 0))")

CLAIM = text(f"""
    WITH candidate AS (
        SELECT a.id, {_NEWS} AS news, coalesce(n.told_count, 0) AS told_count
        FROM alert a
        LEFT JOIN alert_notice n ON n.alert_id = a.id AND n.channel = :channel
        WHERE (a.resolved_at IS NULL OR n.told_as IN ('opened', 'escalated'))
          AND a.kind <> ALL(CAST(:leaves_out AS text[]))
          AND (n.claimed_until IS NULL OR n.claimed_until <= :now)
          AND NOT EXISTS (
              SELECT 1 FROM alert_notice l
              WHERE l.channel = :channel
                AND l.told_at > CAST(:now AS timestamptz) - make_interval(secs => :gap))
    ), due AS (
        SELECT id, news, told_count FROM candidate WHERE news IS NOT NULL LIMIT :limit
    ), claimed AS (
        INSERT INTO alert_notice AS n (alert_id, channel, claimed_until)
        SELECT id, :channel, CAST(:until AS timestamptz) FROM due
        ON CONFLICT (alert_id, channel) DO UPDATE SET claimed_until = excluded.claimed_until
    )
    SELECT a.id AS alert_id, d.news, a.kind, a.subject, a.detail, a.context, a.count,
           a.count - d.told_count AS new, a.first_seen_at, a.last_seen_at, a.opened_at,
           a.resolved_at
    FROM due d JOIN alert a ON a.id = d.id
    ORDER BY a.opened_at, a.id
""")


async def claim_news(
    uow: UnitOfWork, *, channel: str, policy: NoticePolicy, now: datetime
) -> ClaimedNews:
    """Claim (reserve) the news about alerts that a channel (mail) must report now.

    No other process gets this news before the claim is released or ``CLAIM_SECONDS`` have passed.
    Nothing is claimed if the channel's last report is less than ``policy.gap`` old.
    """
    until = now + timedelta(seconds=CLAIM_SECONDS)
    await uow.session.execute(LOCK_CHANNEL, {"channel": channel})
    rows = await uow.session.execute(
        CLAIM,
        {
            "channel": channel,
            "quiet": policy.quiet.total_seconds(),
            "quiet_after_over": policy.quiet_after_over.total_seconds(),
            "escalate_after": policy.escalate_after.total_seconds(),
            "gap": policy.gap.total_seconds(),
            "leaves_out": list(policy.leaves_out),
            "limit": MOST_AT_ONCE,
            "until": until,
            "now": now,
        },
    )
    news = [replace(one, news=News(one.news)) for one in typed_rows(AlertNews, rows)]
    return ClaimedNews(channel=channel, claimed_at=now, until=until, news=news)


# `claimed_until` identifies the claim (reservation) of a process. So the statement does not change
# a row that another process has claimed in the meantime.
SETTLE = text("""
    UPDATE alert_notice n
    SET told_as = CASE WHEN x.news = 'repeated' THEN n.told_as ELSE x.news END,
        told_at = :told_at, told_count = x.count, claimed_until = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:news AS text[]), CAST(:counts AS integer[]))
        AS x (id, news, count)
    WHERE n.alert_id = x.id AND n.channel = :channel AND n.claimed_until = :until
""")


async def settle_news(uow: UnitOfWork, claimed: ClaimedNews) -> None:
    """Record that claimed changes of alerts were reported, and end the claim.

    The next report counts how often a problem has happened since the claim began. If another
    process has claimed a change in the meantime, nothing is recorded for this change.
    """
    await uow.session.execute(
        SETTLE,
        {
            "channel": claimed.channel,
            "ids": [one.alert_id for one in claimed.news],
            "news": [one.news.value for one in claimed.news],
            "counts": [one.count for one in claimed.news],
            "told_at": claimed.claimed_at,
            "until": claimed.until,
        },
    )


RELEASE = text("""
    UPDATE alert_notice n SET claimed_until = NULL
    WHERE n.alert_id = ANY(CAST(:ids AS uuid[])) AND n.channel = :channel
      AND n.claimed_until = :until
""")


async def release_news(uow: UnitOfWork, claimed: ClaimedNews) -> None:
    """End the reservation of news about alerts that could not be reported.

    Any process can then claim (reserve) the same news again.
    """
    await uow.session.execute(
        RELEASE,
        {
            "channel": claimed.channel,
            "ids": [one.alert_id for one in claimed.news],
            "until": claimed.until,
        },
    )


MOST_OF_A_KIND = 5
"""The largest number of alerts of one kind that a mail describes. For further alerts of this kind,
the mail shows only their number."""
SECTIONS = {
    News.ESCALATED: "STILL OPEN AND NOT ACKNOWLEDGED",
    News.OPENED: "NEW",
    News.REPEATED: "STILL HAPPENING",
    News.RESOLVED: "RESOLVED",
}
MARKS = {News.ESCALATED: "ESCALATED", News.REPEATED: "Again", News.RESOLVED: "Resolved"}


def write_alert_mail(news: Sequence[AlertNews], *, name: str, api_url: str) -> tuple[str, str]:
    """Write one mail that reports all the given news about alerts.

    Args:
        news: At least one item.
        name: The name of the business, for the subject line.
        api_url: The public URL of this service, for the links.

    Returns:
        The subject and the plain-text body.
    """
    sections = [
        _section(heading, [one for one in news if one.news is kind], api_url=api_url)
        for kind, heading in SECTIONS.items()
        if any(one.news is kind for one in news)
    ]
    return _subject(news, name=name), "\n".join([*sections, _closing(api_url)])


def _subject(news: Sequence[AlertNews], *, name: str) -> str:
    """Return the subject line of the mail.

    The subject mentions the kinds of alerts with the most urgent news, at most three. The order of
    ``SECTIONS`` decides which news is the most urgent.
    """
    first = next(kind for kind in SECTIONS if any(one.news is kind for one in news))
    kinds = list(dict.fromkeys(_words(one.kind) for one in news if one.news is first))
    mark = f"{MARKS[first]}: " if first in MARKS else ""
    others = len(news) - sum(1 for one in news if one.news is first)
    more = f" (and {others} more)" if others else ""
    business = " ".join(name.split())  # the subject of a mail must be one line
    return f"[{business}] {mark}{', '.join(kinds[:3])}{' …' if len(kinds) > 3 else ''}{more}"  # noqa: PLR2004 - a subject's length


def _section(heading: str, news: Sequence[AlertNews], *, api_url: str) -> str:
    by_kind: dict[str, list[AlertNews]] = defaultdict(list)
    for one in news:
        by_kind[one.kind].append(one)
    lines = [heading, "=" * len(heading), ""]
    for kind, alike in by_kind.items():
        for one in alike[:MOST_OF_A_KIND]:
            lines += [*_paragraph(one), ""]
        if len(alike) > MOST_OF_A_KIND:
            rest = len(alike) - MOST_OF_A_KIND
            lines += [f"… and {rest} more of this kind: {api_url}/v1/alerts?kind={kind}", ""]
    return "\n".join(lines)


def _paragraph(one: AlertNews) -> list[str]:
    lines = [f"* {_words(one.kind).capitalize()} ({one.subject})"]
    if one.news is News.RESOLVED:
        return [
            *lines,
            f"  Resolved at {_time(one.resolved_at)}; opened at {_time(one.opened_at)}.",
        ]
    lines.append(f"  {one.detail}")
    often = "once" if one.count == 1 else f"{one.count} times"
    if one.news is News.OPENED and one.count == one.new:
        lines.append(f"  Happened {often}, last {_time(one.last_seen_at)}.")
    else:
        lines.append(
            f"  Happened {often} since {_time(one.first_seen_at)}, {one.new} of them since the "
            f"last mail; last {_time(one.last_seen_at)}."
        )
    return [*lines, f"  Alert {one.alert_id}"]


def _closing(api_url: str) -> str:
    return (
        "--\n"
        "If you take care of an alert, acknowledge it: no more mail is sent about it.\n"
        f"POST {api_url}/v1/alerts/<id>/acknowledge\n"
        f"All open alerts: {api_url}/v1/alerts?status=open\n"
    )


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
