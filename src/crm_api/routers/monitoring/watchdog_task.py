"""A background task of web processes: run the checks that must work even if no worker runs."""

import asyncio

import structlog

from crm_api.domain.alerts.mail import Mailer
from crm_api.domain.monitoring.alert_reporter import report_alerts
from crm_api.domain.monitoring.watchdog import system
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.lifetimes import BackgroundTask
from crm_api.platform.settings import Settings

log = structlog.get_logger()

LOOK_SECONDS = 60.0


class WatchdogTask:
    """Checks disks, the clock and the workers once a minute, and raises and resolves alerts.

    A worker mails alerts. While no worker runs, this web process mails them. The application calls
    ``start()`` when it starts and ``close()`` when it stops.
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
        self._mailer = mailer
        self._look_seconds = look_seconds
        self._task = BackgroundTask("watchdog")

    async def start(self) -> None:
        """Start the background task."""
        self._task.start(self._look_on())

    async def close(self) -> None:
        """Stop the background task."""
        await self._task.close()

    async def look(self) -> None:
        """Check the disks, the clock and the workers once.

        If no worker runs, also send the mails about alerts.
        """
        measured = await asyncio.to_thread(system.measure_disks, system.folders_of(self._settings))
        async with self._new_uow() as uow:
            await system.check_disks(uow, measured, now=clock.now())
        async with self._new_uow() as uow:
            await system.check_clock(uow, wall=clock.wall_now(), now=clock.now())
        async with self._new_uow() as uow:
            is_worker_alive = await system.check_workers(uow, now=clock.now())
        if not is_worker_alive and self._mailer is not None:
            await report_alerts(self._new_uow, self._mailer, self._settings, now=clock.now)

    async def _look_on(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the task must go on, so it tries again later
                log.warning("watchdog checks could not run", error=type(error).__name__)
            await asyncio.sleep(self._look_seconds)
