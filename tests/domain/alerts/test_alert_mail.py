"""The subject and body of mails about alerts."""

from dataclasses import replace
from datetime import timedelta

from tests.conftest import NOW

from crm_api.domain.alerts.alert_mail import AlertNews, write_alert_mail
from crm_api.domain.alerts.models import News
from crm_api.platform.ids import new_id

OPENED = AlertNews(
    alert_id=new_id(),
    news=News.OPENED,
    kind="line_blocked",
    subject="L1",
    detail="OpenPhone refuses to send. Fix the line.",
    context={},
    count=1,
    new=1,
    first_seen_at=NOW,
    last_seen_at=NOW,
    opened_at=NOW,
    resolved_at=None,
)


def subject(*news: AlertNews, name: str = "Granite") -> str:
    return write_alert_mail(news, name=name, api_url="http://crm.test")[0]


def test_subject_names_the_most_urgent_kind_of_news_first() -> None:
    resolved = replace(OPENED, news=News.RESOLVED, kind="provider_down", resolved_at=NOW)
    escalated = replace(OPENED, news=News.ESCALATED, kind="send_parked")

    assert subject(resolved) == "[Granite] Resolved: provider down"
    assert subject(resolved, OPENED) == "[Granite] line blocked (and 1 more)"
    assert subject(resolved, OPENED, escalated) == "[Granite] ESCALATED: send parked (and 2 more)"


def test_long_subject_is_cut_to_one_line() -> None:
    kinds = [replace(OPENED, kind=f"kind_{index}") for index in range(9)]

    assert subject(*kinds, name="Granite\nFoundations") == (
        "[Granite Foundations] kind 0, kind 1, kind 2 …"
    )


def test_sections_are_in_order_of_urgency() -> None:
    news = [
        replace(OPENED, news=News.RESOLVED, resolved_at=NOW + timedelta(minutes=5)),
        replace(OPENED, news=News.REPEATED, count=40, new=7),
        OPENED,
        replace(OPENED, news=News.ESCALATED),
    ]

    _, body = write_alert_mail(news, name="Granite", api_url="http://crm.test")

    headings = ["STILL OPEN", "NEW", "STILL HAPPENING", "RESOLVED"]
    positions = [
        body.index(f"\n{heading}" if heading != "STILL OPEN" else heading) for heading in headings
    ]
    assert positions == sorted(positions)
    assert "Happened 40 times since 2026-11-25 15:00 UTC, 7 of them since the last mail" in body
    assert "Resolved at 2026-11-25 15:05 UTC" in body
    assert body.count("Fix the line.") == 3
