"""Report regularly that this web process can receive webhooks.

If no web process reports for some minutes, the service was not able to receive webhooks in this
time. Afterwards, a web process creates a reconciliation run, because webhooks may have been missed.
This run compares our messages and phone calls with those at the provider.
"""

import asyncio

import structlog

from crm_api.domain.inbound.reconciliation import runs
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

BEAT_SECONDS = 30.0


class ReceiverWatch:
    """Stores heartbeats regularly, which show that a web process can receive webhooks.

    The application's lifespan calls ``start()`` and ``close()``.
    """

    def __init__(self, new_uow: UnitOfWorkFactory, *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._new_uow = new_uow
        self._beat_seconds = beat_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to report regularly that this web process can receive webhooks."""
        self._task = asyncio.create_task(self._beat_on(), name="receiver watch")

    async def close(self) -> None:
        """Stop storing heartbeats."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def beat(self) -> None:
        """Store one heartbeat, which shows that webhooks can be received now.

        After an outage, this method also creates a reconciliation run, which gets the missed
        messages and phone calls from the provider.
        """
        try:
            async with self._new_uow() as uow:
                made = await runs.store_receiver_heartbeat(uow, now=clock.now())
        except Exception as error:  # noqa: BLE001 - a missing heartbeat itself shows the outage
            log.warning("receiver heartbeat not stored", error=type(error).__name__)
            return
        if made is not None:
            log.warning("reconciliation run created after a receiver outage", run_id=str(made))

    async def _beat_on(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(self._beat_seconds)
