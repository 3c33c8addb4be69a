"""The pause of a year that the provider asks for in one answer, and how it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from tests.chaos.stage import Stage

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.backoff import LONGEST_SECONDS
from crm_api.platform import clock

YEAR_SECONDS = 31_536_000
SHOWN_WITHIN_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.1
TOLERANCE = timedelta(seconds=10)

_PASS_TIME = text("""
    UPDATE rate_limit SET held_until = held_until - make_interval(secs => :seconds),
                          next_at = next_at - make_interval(secs => :seconds)
    WHERE held_until > now()
""")

# The recipient who got the answer is due again when the pause ends.
_PASS_TIME_OF_RECIPIENTS = text("""
    UPDATE campaign_membership SET due_at = due_at - make_interval(secs => :seconds)
    WHERE status = 'pending' AND due_at > now() + make_interval(secs => :seconds / 2)
""")

End = Callable[[Stage], Awaitable[None]]


async def by_a_person(stage: Stage) -> None:
    """End the pause as the alert advises."""
    await stage.crowd.ask("POST", f"/v1/lines/{stage.crowd.lines[0]}/unblock")
    if not await _within(lambda: _provider_is(stage, "ok")):
        stage.complaints.append("readyz calls the provider degraded after the pause was ended")


async def by_time(stage: Stage) -> None:
    """Let the longest time of a pause pass."""
    async with stage.engine.begin() as connection:
        for statement in (_PASS_TIME, _PASS_TIME_OF_RECIPIENTS):
            await connection.execute(statement, {"seconds": LONGEST_SECONDS})


async def pause_for_a_year(stage: Stage, *, seconds: float, end: End) -> None:
    """Answer one send by 429 with a ``Retry-After`` of a year, and check what is shown.

    Args:
        seconds: How long the pause is left alone.
        end: Ends the pause.
    """
    await stage.order("429", count=1, retry_after=YEAR_SECONDS)
    begun_at = time.monotonic()
    if not await _within(lambda: _provider_is(stage, "degraded")):
        stage.complaints.append("readyz does not call the provider degraded")
    await asyncio.sleep(max(0.0, begun_at + seconds - time.monotonic()))
    alert = await _alert(stage)
    if alert is None:
        stage.complaints.append("no alert names the pause that the provider asked for")
    else:
        _judge(stage, alert["context"])
    await end(stage)


def _judge(stage: Stage, context: dict[str, Any]) -> None:
    """Compare the alert with what was asked for and with what is allowed."""
    left = datetime.fromisoformat(context["until"]) - clock.now()
    if context["asked_seconds"] != YEAR_SECONDS:
        stage.complaints.append(f"the alert says that {context['asked_seconds']} s were asked for")
    if left > timedelta(seconds=LONGEST_SECONDS) + TOLERANCE:
        stage.complaints.append(f"one answer holds everything for another {left}")
    stage.reported.append(
        f"provider degraded; alert: {context['asked_seconds']:.0f} s asked for, "
        f"{left.total_seconds():.0f} s left"
    )


async def _alert(stage: Stage) -> dict[str, Any] | None:
    query = f"status=open&kind={AlertKind.PROVIDER_ASKED_TO_WAIT}"
    found: list[dict[str, Any]] = (await stage.crowd.ask("GET", f"/v1/alerts?{query}"))["data"]
    return found[0] if found else None


async def _provider_is(stage: Stage, state: str) -> bool:
    checks = (await stage.crowd.ask("GET", "/readyz"))["checks"]
    return bool(checks["provider"] == state)


async def _within(ask: Callable[[], Awaitable[bool]]) -> bool:
    """Ask until it is true; False if it takes too long."""
    deadline = time.monotonic() + SHOWN_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if await ask():
            return True
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return False
