"""A worker's parts over a sandbox, and campaigns whose window is open at any hour."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

from tests.domain.sends.ledger import TIMES, Ledger
from tests.fakes import RecordingQueue

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.times import SendTimes
from crm_api.settings import Settings
from crm_api.workers.deps import Deps

FAST = 10_000.0
ALWAYS: dict[str, Any] = {"window_start": time(0), "window_end": time(23, 59)}


def make_deps(
    settings: Settings,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
    *,
    times: SendTimes = TIMES,
    rules: RuleBook = NO_RULES,
) -> Deps:
    return Deps(
        settings=settings,
        new_uow=new_uow,
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=FAST),
        times=times,
        rules=rules,
        secret=settings.require_secret_key(),
    )


def far_from_midnight() -> str:
    """A zone in which no window ends while a test runs."""
    return "UTC" if 6 <= clock.now().hour < 18 else "Asia/Tokyo"


async def open_ledger(
    new_uow: UnitOfWorkFactory, *, ago: float = 0, people: int = 1, **more: Any
) -> Ledger:
    """A campaign of so many people that began ``ago`` seconds ago by the real clock."""
    now = clock.now() - timedelta(seconds=ago)
    values = ALWAYS | {"timezone": far_from_midnight(), "line_limit": 1000, "daily_limit": 1000}
    return await Ledger.open(new_uow, people=people, now=now, **(values | more))


def shifted(seconds: float) -> Callable[[], datetime]:
    """A clock that is behind the real one."""
    return lambda: clock.now() - timedelta(seconds=seconds)
