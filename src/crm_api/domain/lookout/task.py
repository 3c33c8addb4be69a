"""A web process's look at what the workers cannot tell: that none of them lives."""

import asyncio

import structlog

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.lookout import disks, system
from crm_api.domain.operations.mail import Mailer
from crm_api.domain.operations.telling import Teller
from crm_api.settings import Settings

log = structlog.get_logger()

LOOK_SECONDS = 60.0


class Lookout:
    """The look of one web process; ``start()`` and ``close()`` belong to its lifespan.

    Alerts are mailed by a worker. While none lives this process does it.
    """

    def __init__(
        self,
        new_uow: UnitOfWorkFactory,
        *,
        settings: Settings,
        mailer: Mailer | None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._new_uow = new_uow
        self._settings = settings
        self._teller = None if mailer is None else Teller(new_uow, mailer, settings)
        self._look_seconds = look_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_on(), name="lookout")

    async def close(self) -> None:
        """Stop."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> None:
        """Look once; mail what there is to tell while no worker lives to do it."""
        measured = await asyncio.to_thread(disks.measure, disks.places(self._settings))
        async with self._new_uow() as uow:
            await system.look_at_disks(uow, measured, now=clock.now())
        async with self._new_uow() as uow:
            await system.look_at_clock(uow, wall=clock.wall_now(), now=clock.now())
        async with self._new_uow() as uow:
            is_worker_alive = await system.look_at_workers(uow, now=clock.now())
        if not is_worker_alive and self._teller is not None:
            await self._teller.tell(now=clock.now)

    async def _look_on(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the database is away; the next look tells
                log.warning("nothing looked after", error=type(error).__name__)
            await asyncio.sleep(self._look_seconds)
