"""Write the mail that reports alerts: what happened, how often, and what to do."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from crm_api.domain.alerts.models import News
from crm_api.domain.alerts.notices import AlertNews

MOST_OF_A_KIND = 5
"""The mail describes at most this many alerts of one kind. For the others, it states the number."""
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

    It names the kinds of the alerts that have the most urgent news, at most three kinds. The order
    of ``SECTIONS`` decides which news is the most urgent.
    """
    first = next(kind for kind in SECTIONS if any(one.news is kind for one in news))
    kinds = list(dict.fromkeys(_words(one.kind) for one in news if one.news is first))
    mark = f"{MARKS[first]}: " if first in MARKS else ""
    others = len(news) - sum(1 for one in news if one.news is first)
    more = f" (and {others} more)" if others else ""
    business = " ".join(name.split())  # the subject must be one line
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
