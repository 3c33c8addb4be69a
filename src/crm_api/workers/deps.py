"""Dependencies of the background functions; built at start and kept under ``ctx["deps"]``."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from crm_api.domain.alerts.circuits import Circuit
from crm_api.domain.alerts.mail import Mailer
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.imports.contacts.source import ContactChunk
from crm_api.domain.imports.files.chunk_reader import OpenReaders
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import JobName, JobQueue
from crm_api.platform.request_context import Cause
from crm_api.platform.settings import Settings


@dataclass(kw_only=True)
class JobSlot:
    """One kind of job in this process: one run at a time; a later request asks for another.

    Attributes:
        cause: The cause of the first request that waits.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_asked: bool = False
    cause: Cause | None = None


@dataclass(kw_only=True)
class Deps:
    """Parts of a worker process.

    Attributes:
        on_stop: Called on SIGTERM, so that running work claims and gates nothing more.
        slots: One for each kind of job that has run.
        circuit: Holds back calls to the provider while it is down; None never holds back.
        import_readings: Import files that stay open from one run to the next.
        mailer: Mails alerts; None if mail is not set up.
        works_for_seconds: How long one run of a job begins new work.
    """

    settings: Settings
    new_uow: UnitOfWorkFactory
    queue: JobQueue
    provider: OpenPhoneClient
    limiter: Limiter
    times: SendTimes
    rules: RuleBook
    secret: bytes = field(repr=False)
    circuit: Circuit | None = None
    mailer: Mailer | None = None
    import_readings: OpenReaders[ContactChunk] = field(default_factory=OpenReaders)
    works_for_seconds: float = 30.0
    is_stopping: bool = False
    is_paused: bool = False
    """True while the sandbox's time is moved: then only the job that moves it works."""
    on_stop: set[Callable[[], None]] = field(default_factory=set)
    slots: dict[JobName, JobSlot] = field(default_factory=dict)
    budgets_checked_at: datetime | None = None
    """When this process last checked for recipients that carrier budgets have room for."""

    async def business(self, uow: UnitOfWork) -> Business:
        """Return the sender's details, from the environment and the company's settings."""
        configured = Business(
            name=self.settings.business_name, contact=self.settings.business_contact
        )
        return await company.read_business(uow, configured=configured)

    async def pause(self, is_moving: bool) -> None:  # noqa: FBT001 - what the clock's follower reports
        """Begin no work while time is being moved; return when running work has ended."""
        if is_moving == self.is_paused:
            return
        self.is_paused = is_moving
        if not is_moving:
            return
        for stop in tuple(self.on_stop):
            stop()
        for name, slot in tuple(self.slots.items()):
            if name is not JobName.MOVE_SANDBOX_TIME:
                async with slot.lock:
                    pass

    def stop(self) -> None:
        """Ask running work to end."""
        self.is_stopping = True
        for stop in tuple(self.on_stop):
            stop()


def deps_of(ctx: dict[str, Any]) -> Deps:
    """Return the dependencies that the worker put into the job's context."""
    return cast("Deps", ctx["deps"])


class TimeLimit:
    """Counts from its creation, at the beginning of a run.

    A run whose time is over asks for another run, so that a job's timeout can be short.
    """

    def __init__(self, deps: Deps, *, seconds: float | None = None) -> None:
        """Begin to count; ``deps.works_for_seconds`` is the usual limit."""
        self._deps = deps
        self._seconds = seconds
        self._began_at = time.monotonic()

    def is_over(self) -> bool:
        """Return True if the run must end: its time is over, or the worker stops."""
        limit = self._deps.works_for_seconds if self._seconds is None else self._seconds
        return self._deps.is_stopping or time.monotonic() - self._began_at >= limit
