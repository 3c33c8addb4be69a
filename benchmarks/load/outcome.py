"""Check the result of the day: compare counts at the provider and in the database."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.load.company import Company
from benchmarks.load.day import Course, Size
from benchmarks.load.office import WAY_OUT

MEMBERS = "SELECT phone, status FROM campaign_membership"
LAGS = """
    SELECT count(*) AS events,
           count(*) FILTER (WHERE status NOT IN ('processed', 'ignored')) AS open,
           percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (
               ORDER BY extract(epoch FROM processed_at - received_at)) AS lags
    FROM webhook_event
"""
UNCLEAR = "SELECT count(*) FROM campaign_membership WHERE status IN ('sending', 'unknown')"
REPLIES = "SELECT count(*) FROM activity WHERE kind = 'message' AND direction = 'incoming'"
SIZE = "SELECT pg_database_size(current_database())"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The counts at the end of the day.

    Attributes:
        wrong: Sentences about what is wrong; empty if everything is as expected.
        lags: Seconds from the receipt of an event until it was applied: p50, p99, longest.
    """

    wrong: list[str]
    accepted: int
    events: int
    replies: int
    stops: int
    lags: tuple[float, float, float]
    database_mb: float
    warnings: Counter[str]


async def check_counts(company: Company, course: Course, size: Size, texts: list[Any]) -> Outcome:
    """Compare all counts at the end of the day.

    Args:
        company: The running service.
        course: The measurements of the day.
        size: How busy the company was.
        texts: The messages that the sandbox has accepted and received, oldest first.
    """
    connection = await asyncpg.connect(company.database_url.replace("+asyncpg", "", 1))
    try:
        members = await connection.fetch(MEMBERS)
        event = await connection.fetchrow(LAGS)
        unclear = await connection.fetchval(UNCLEAR)
        replies = await connection.fetchval(REPLIES)
        megabytes = await connection.fetchval(SIZE) / 1024 / 1024
    finally:
        await connection.close()
    assert event is not None  # noqa: S101 - an aggregate always has a row
    outgoing = [text for text in texts if text["direction"] == "outgoing"]
    incoming = [text for text in texts if text["direction"] == "incoming"]
    campaign = Counter(
        to for text in outgoing if text["text"].endswith(WAY_OUT) for to in text["to"]
    )
    warnings = _warnings(company.log)
    people = size.campaigns * size.people
    final = course.runs[-1]
    without_message = _unsent(members, campaign)
    checks = {
        f"{len(members):,} recipients, not {people:,}": len(members) == people,
        "a recipient got two messages": max(campaign.values(), default=0) <= 1,
        f"{without_message} recipients should have one message and have none": not without_message,
        f"{unclear} sends have no end": unclear == 0,
        f"{event['open']} events are not applied": event["open"] == 0,
        f"{replies:,} replies are stored, {len(incoming):,} were written": replies == len(incoming),
        f"the last comparison with the provider: {final['status']}, {final['drift']}": (
            final["status"] == "completed" and not any(final["drift"].values())
        ),
        f"{sum(course.timings.failed.values())} requests failed": not course.timings.failed,
        f"refused: {dict(course.timings.refused)}": not _unexpected(course),
        f"errors in the log: {dict(warnings)}": not warnings["error"],
    }
    half, most, longest = event["lags"]
    return Outcome(
        wrong=[sentence for sentence, holds in checks.items() if not holds],
        accepted=len(outgoing),
        events=event["events"],
        replies=len(incoming),
        stops=sum(1 for text in incoming if "stop" in text["text"].lower()),
        lags=(float(half), float(most), float(longest)),
        database_mb=megabytes,
        warnings=warnings,
    )


def _unsent(members: list[asyncpg.Record], campaign: Counter[str]) -> int:
    """Count the recipients who should have exactly one message at the provider, but do not."""
    return sum(
        1
        for member in members
        if member["status"] not in {"skipped", "cancelled"} and campaign[member["phone"]] != 1
    )


def _unexpected(course: Course) -> list[tuple[str, str]]:
    """Return the refused requests, except manual replies to people who have opted out."""
    may_be = ("send a reply", "recipient_opted_out")
    return [one for one in course.timings.refused if one != may_be]


def _warnings(log: Path) -> Counter[str]:
    """Count the lines of the log by level and, for warnings, by event."""
    found: Counter[str] = Counter()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("{"):
                entry = json.loads(line)
                level = entry.get("level", "")
                found[level] += 1
                if level in {"warning", "error"}:
                    found[f"{level}: {entry.get('event')}"] += 1
    return found
