"""The fault in which the provider asks for a pause of a year, and two ways to end the pause."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from tests.chaos.installation import Installation

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.backoff import LONGEST_SECONDS
from crm_api.platform import clock

YEAR_SECONDS = 31_536_000
SHOWN_WITHIN_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.1
TOLERANCE = timedelta(seconds=10)

_SHORTEN_PAUSE = text("""
    UPDATE rate_limit SET held_until = held_until - make_interval(secs => :seconds),
                          next_at = next_at - make_interval(secs => :seconds)
    WHERE held_until > now()
""")

# The provider responded with 429 to the message of one recipient. This recipient is due again when
# the pause ends.
_SHORTEN_WAIT_OF_RECIPIENT = text("""
    UPDATE campaign_membership SET due_at = due_at - make_interval(secs => :seconds)
    WHERE status = 'pending' AND due_at > now() + make_interval(secs => :seconds / 2)
""")

End = Callable[[Installation], Awaitable[None]]


async def end_by_unblocking(installation: Installation) -> None:
    """End the pause as the alert advises: unblock the line."""
    await installation.crowd.ask("POST", f"/v1/lines/{installation.crowd.lines[0]}/unblock")
    if not await _becomes_true(lambda: _provider_is(installation, "ok")):
        installation.violations.append(
            "readyz reports the provider as degraded after the pause was ended"
        )


async def end_by_time(installation: Installation) -> None:
    """Simulate that the longest possible pause (ten minutes) has passed.

    The stored instants at which the pause ends are moved to ten minutes earlier.
    """
    async with installation.engine.begin() as connection:
        for statement in (_SHORTEN_PAUSE, _SHORTEN_WAIT_OF_RECIPIENT):
            await connection.execute(statement, {"seconds": LONGEST_SECONDS})


async def pause_for_a_year(installation: Installation, *, seconds: float, end: End) -> None:
    """Make the provider respond to one message with 429 and a ``Retry-After`` of a year.

    Then check what the service reports about the pause.

    Args:
        seconds: How long the pause lasts before ``end`` is called.
        end: The function that ends the pause.
    """
    await installation.add_provider_fault("429", count=1, retry_after=YEAR_SECONDS)
    begun_at = time.monotonic()
    if not await _becomes_true(lambda: _provider_is(installation, "degraded")):
        installation.violations.append("readyz does not report the provider as degraded")
    await asyncio.sleep(max(0.0, begun_at + seconds - time.monotonic()))
    alert = await _alert(installation)
    if alert is None:
        installation.violations.append("no alert reports the pause that the provider asked for")
    else:
        _check_alert(installation, alert["context"])
    await end(installation)


def _check_alert(installation: Installation, context: dict[str, Any]) -> None:
    """Check that the alert has the requested pause, and that the real pause is not too long."""
    left = datetime.fromisoformat(context["until"]) - clock.now()
    if context["asked_seconds"] != YEAR_SECONDS:
        installation.violations.append(
            f"the alert says that {context['asked_seconds']} s were asked for"
        )
    if left > timedelta(seconds=LONGEST_SECONDS) + TOLERANCE:
        installation.violations.append(f"the pause lasts for another {left}")
    installation.reported.append(
        f"provider degraded; alert: {context['asked_seconds']:.0f} s asked for, "
        f"{left.total_seconds():.0f} s left"
    )


async def _alert(installation: Installation) -> dict[str, Any] | None:
    query = f"status=open&kind={AlertKind.PROVIDER_ASKED_TO_WAIT}"
    found: list[dict[str, Any]] = (await installation.crowd.ask("GET", f"/v1/alerts?{query}"))[
        "data"
    ]
    return found[0] if found else None


async def _provider_is(installation: Installation, state: str) -> bool:
    checks = (await installation.crowd.ask("GET", "/readyz"))["checks"]
    return bool(checks["provider"] == state)


async def _becomes_true(ask: Callable[[], Awaitable[bool]]) -> bool:
    """Call ``ask`` until it returns True; return False if this takes too long."""
    deadline = time.monotonic() + SHOWN_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if await ask():
            return True
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return False
