"""Helpers for tests of sending: dependencies of a worker, and campaigns that may always send."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

from tests.domain.messaging.sends.ledger import TIMES, Ledger

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobQueue
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps

SLOW_TIMES = replace(TIMES, call_start=timedelta(seconds=20))
"""Time limits of sending, with more time between the gate (the last check) and the call.

On a busy machine, seconds may pass between the gate and the call. A message that is not sent for
this reason would prove nothing about the response.
"""
HIGH_RATE = 10_000.0
ALWAYS: dict[str, Any] = {"window_start": time(0), "window_end": time(23, 59)}


def make_deps(
    settings: Settings,
    new_uow: UnitOfWorkFactory,
    queue: JobQueue,
    provider: OpenPhoneClient,
    *,
    times: SendTimes = SLOW_TIMES,
    rules: RuleBook = NO_RULES,
) -> Deps:
    return Deps(
        settings=settings,
        new_uow=new_uow,
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=HIGH_RATE),
        times=times,
        rules=rules,
        secret=settings.require_secret_key(),
    )


def far_from_midnight() -> str:
    """Return a time zone in which no sending window ends while a test runs."""
    return "UTC" if 6 <= clock.now().hour < 18 else "Asia/Tokyo"


async def open_ledger(
    new_uow: UnitOfWorkFactory, *, ago: float = 0, people: int = 1, **more: Any
) -> Ledger:
    """Create a campaign with ``people`` recipients that started ``ago`` seconds ago."""
    now = clock.now() - timedelta(seconds=ago)
    values = ALWAYS | {"timezone": far_from_midnight(), "line_limit": 1000, "daily_limit": 1000}
    return await Ledger.open(new_uow, people=people, now=now, **(values | more))


def clock_behind(seconds: float) -> Callable[[], datetime]:
    """Return a clock that is ``seconds`` behind the real clock."""
    return lambda: clock.now() - timedelta(seconds=seconds)
