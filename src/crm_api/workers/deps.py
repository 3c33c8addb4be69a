"""Objects that background jobs need; they are created at the start and passed in the context."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from crm_api.platform.jobs import Job, JobName, JobQueue
from crm_api.platform.request_context import Cause, resume_cause
from crm_api.platform.settings import Settings


@dataclass(kw_only=True)
class JobSlot:
    """State of one job in this process; ensures that only one run of the job works at a time.

    Attributes:
        lock: Locked while a run is working.
        is_asked: True if another run is needed, because a run was requested after the last run
            began, or because a pause interrupted the last run.
        cause: The request id and trace ids of the first API request that caused the next run. None
            if the schedule caused the next run.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_asked: bool = False
    cause: Cause | None = None


@dataclass(kw_only=True)
class Deps:
    """Objects that the jobs of a worker process share.

    Attributes:
        queue: The queue of nudges in Redis.
        limiter: Rate limit for requests to the provider, shared by all workers.
        times: Durations that limit the steps of sending, such as leases.
        rules: The legal rules that apply.
        secret: The root secret: the first secret key that the service used.
        circuit: Stops requests while the provider is down; None without a circuit breaker.
        mailer: Sends alerts by mail; None if mail is not set up.
        import_readings: The files that a run of the import job leaves open for its next run.
        works_for_seconds: Seconds after which a run of a job begins no new work.
        is_stopping: True after SIGTERM or SIGINT.
        on_stop: Functions that make running jobs send nothing more. They are called at the shutdown
            and when a pause of the jobs begins.
        slots: The state of each job that has run in this process.
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
    """True during a pause of the jobs (see the method ``pause``). Then only the job that moves the
    sandbox's time runs."""
    on_stop: set[Callable[[], None]] = field(default_factory=set)
    slots: dict[JobName, JobSlot] = field(default_factory=dict)
    budgets_checked_at: datetime | None = None
    """When this process last checked whether the daily budgets of phone carriers allow messages
    again.

    It is None if this process has not checked yet.
    """

    async def business(self, uow: UnitOfWork) -> Business:
        """Return the company's name, and the phone number or address by which people reach it.

        Environment variables override stored settings.
        """
        configured = Business(
            name=self.settings.business_name, contact=self.settings.business_contact
        )
        return await company.read_business(uow, configured=configured)

    async def pause(self, is_moving: bool) -> None:  # noqa: FBT001 - what the clock's follower reports
        """Begin or end a pause of all jobs except the job that moves the sandbox's time.

        When the pause begins, this function waits until all running jobs have ended. When the pause
        ends, this function requests a run of each job that was requested during the pause, or that
        the pause may have interrupted. The jobs also pause while ``ClockFollower`` has no database
        connection, because this process would not notice that the sandbox's time is moved.
        """
        if is_moving == self.is_paused:
            return
        self.is_paused = is_moving
        if not is_moving:
            for name, slot in tuple(self.slots.items()):
                if slot.is_asked:
                    await self.request_run(name)
            return
        for stop in tuple(self.on_stop):
            stop()
        for name, slot in tuple(self.slots.items()):
            if name is not JobName.MOVE_SANDBOX_TIME:
                async with slot.lock:
                    pass

    @contextmanager
    def stopped_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """During the ``with`` block, call ``stop`` when the process shuts down or a pause begins.

        If a shutdown or a pause has already begun, ``stop`` is called at the start of the block.
        """
        self.on_stop.add(stop)
        try:
            if self.is_stopping or self.is_paused:
                stop()
            yield
        finally:
            self.on_stop.discard(stop)

    async def request_run(self, name: JobName) -> None:
        """Request another run of a job whose run could not start or may have been interrupted.

        The new run gets the ids in ``JobSlot.cause``.
        """
        with resume_cause(self.slots[name].cause):
            await self.queue.push(Job(name=name))

    def stop(self) -> None:
        """Make the running jobs end soon, because the process shuts down."""
        self.is_stopping = True
        for stop in tuple(self.on_stop):
            stop()


def deps_of(ctx: dict[str, Any]) -> Deps:
    """Return the ``Deps`` from the context that arq passes to a job."""
    return cast("Deps", ctx["deps"])


class TimeLimit:
    """Time limit for one run of a job; the time begins when this object is created.

    A run that reaches its limit must request another run and end.
    """

    def __init__(self, deps: Deps, *, seconds: float | None = None) -> None:
        """Begin the time limit. If ``seconds`` is None, the limit is ``deps.works_for_seconds``."""
        self._deps = deps
        self._seconds = seconds
        self._began_at = time.monotonic()

    def is_over(self) -> bool:
        """Return True if the run must end, because its time is up or the worker stops."""
        limit = self._deps.works_for_seconds if self._seconds is None else self._seconds
        return self._deps.is_stopping or time.monotonic() - self._began_at >= limit
