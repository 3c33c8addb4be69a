"""What the background functions work with; built at start and kept under ``ctx["deps"]``."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from crm_api.cause import Cause
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.operations.circuits import Circuit
from crm_api.domain.operations.mail import Mailer
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.times import SendTimes
from crm_api.domain.transfer.reading import Readings
from crm_api.jobs import JobName, JobQueue
from crm_api.settings import Settings


@dataclass(kw_only=True)
class Turn:
    """One kind of job runs once at a time in a process; who comes meanwhile asks for another.

    Attributes:
        cause: Of the first who asked.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_asked: bool = False
    cause: Cause | None = None


@dataclass(kw_only=True)
class Deps:
    """The parts of a worker process.

    Attributes:
        on_stop: Called on SIGTERM, so that running work claims and gates nothing more.
        turns: One for each kind of job that has run.
        circuit: Holds back calls to the provider while it is down; None: nothing does.
        import_readings: Files of imports that are open from one run to the next.
        mailer: Mails alerts; None when mail is not set up.
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
    import_readings: Readings = field(default_factory=Readings)
    is_stopping: bool = False
    is_held: bool = False
    """The sandbox's time is being moved: only who moves it works."""
    on_stop: set[Callable[[], None]] = field(default_factory=set)
    turns: dict[JobName, Turn] = field(default_factory=dict)

    @property
    def business(self) -> Business:
        """Who is texting, as the settings say."""
        return Business(name=self.settings.business_name, contact=self.settings.business_contact)

    async def hold(self, is_moving: bool) -> None:  # noqa: FBT001 - what the clock's follower tells
        """Begin no work while time is being moved; returns when what runs has ended."""
        if is_moving == self.is_held:
            return
        self.is_held = is_moving
        if not is_moving:
            return
        for stop in tuple(self.on_stop):
            stop()
        for name, turn in tuple(self.turns.items()):
            if name is not JobName.MOVE_SANDBOX_TIME:
                async with turn.lock:
                    pass

    def stop(self) -> None:
        """Tell running work to come to its end."""
        self.is_stopping = True
        for stop in tuple(self.on_stop):
            stop()


def deps_of(ctx: dict[str, Any]) -> Deps:
    """Return the parts that the worker put into the job's context."""
    return cast("Deps", ctx["deps"])
