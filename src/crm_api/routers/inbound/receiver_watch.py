"""Report whether this web process can receive webhooks, and which webhooks it refused.

Each web process reports regularly. If no web process has reported for some minutes, the next report
creates a reconciliation run, which compares our messages and calls with the provider's. Refused
webhooks are counted for some seconds. Then alerts about them are stored.
"""

import asyncio
from collections import Counter

import structlog

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.reconciliation import runs
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

BEAT_SECONDS = 30.0
REFUSED = AlertKind.WEBHOOK_REFUSED
"""Kind of the alert about refused webhook requests. The subject of the alert is the error code."""
GATHER_SECONDS = 5.0
WHAT_TO_DO = {
    "signature_missing": "They had no signature. Either another sender posts to this address, or a "
    "webhook at the provider was created without a signature.",
    "signature_malformed": "Their signature header could not be parsed. Either another sender "
    "posts to this address, or the provider changed its signature scheme.",
    "signature_mismatch": "Their signature matches no signing key of this service. `crm-api "
    "webhooks list` shows for which webhooks this service has a key. If this service "
    "registered the webhook, `crm-api webhooks rotate` creates a new key. If a person created the "
    "webhook, add its key to CRM_OPENPHONE_WEBHOOK_SECRETS.",
    "signature_stale": "Their signature is correct, but its time is too old or in the future, both "
    "by the clock of this machine and by the clock of the database. Check the clock of the "
    "database (NTP). If this clock is right, another sender repeats old deliveries.",
}


class ReceiverWatch:
    """Stores heartbeats regularly, which show that a web process can receive webhooks.

    The application's lifespan calls ``start()`` and ``close()``.
    """

    def __init__(self, new_uow: UnitOfWorkFactory) -> None:
        self._new_uow = new_uow
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
            await asyncio.sleep(BEAT_SECONDS)


class RefusalAlerts:
    """Counts the refused webhooks of one web process, and raises one alert for each error code.

    The application's lifespan calls ``start()`` and ``close()``.
    """

    def __init__(
        self, new_uow: UnitOfWorkFactory, *, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        self._new_uow = new_uow
        self._gather_seconds = gather_seconds
        self._counts: Counter[str] = Counter()
        self._has_some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the background task that raises the alerts about refused webhooks."""
        self._task = asyncio.create_task(self._write_on(), name="webhook refusals")

    async def close(self) -> None:
        """Stop the background task, and raise the alerts that it has not raised yet."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.flush()

    def note(self, code: str) -> None:
        """Count one refused webhook; ``code`` is the error code of the refusal."""
        self._counts[code] += 1
        self._has_some.set()

    async def flush(self) -> None:
        """Raise one alert for each error code with which webhooks were refused.

        Each alert says how many webhooks were refused. If the alerts cannot be stored, the counts
        are kept, and the next ``flush`` tries again.
        """
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            async with self._new_uow() as uow:
                for code in sorted(counts):
                    await alerts.raise_alert(
                        uow,
                        kind=REFUSED,
                        subject=code,
                        detail="Deliveries to /webhooks/openphone were refused with 401 and not "
                        f"stored. {WHAT_TO_DO.get(code, '')}",
                        times=counts[code],
                        now=clock.now(),
                    )
        except Exception:  # the task must survive while the database is unavailable
            self._counts += counts
            log.exception("alerts about refused webhooks not stored")

    async def _write_on(self) -> None:
        while True:
            await self._has_some.wait()
            await asyncio.sleep(self._gather_seconds)
            self._has_some.clear()
            await self.flush()
            if self._counts:
                self._has_some.set()
