"""Alerts about refused deliveries, batched so that a flood costs few statements."""

import asyncio
from collections import Counter

import structlog

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

REFUSED = AlertKind.WEBHOOK_REFUSED
"""The alert's kind; its subject is the error's code."""
GATHER_SECONDS = 5.0
WHAT_TO_DO = {
    "signature_missing": "They carried no signature: either another sender posts to the address, "
    "or a webhook of the provider was created in a way that does not sign.",
    "signature_malformed": "Their signature header could not be read: either another sender posts "
    "to the address, or the provider changed its scheme.",
    "signature_mismatch": "No signing key gives their signature: `crm-api webhooks list` shows "
    "which webhooks have a key here. One that was registered here gets a new key by `crm-api "
    "webhooks rotate`; the key of one made by hand belongs in CRM_OPENPHONE_WEBHOOK_SECRETS.",
    "signature_stale": "Their signature is right, but its time is not, neither by the clock of "
    "this machine nor by the database's: check the database's clock (NTP). If that clock is right, "
    "another sender repeats old deliveries.",
}


class RefusalAlerts:
    """Counts refused deliveries of one web process and raises one alert per reason.

    ``start()`` and ``close()`` belong to the application's lifespan.
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
        """Begin to write alerts."""
        self._task = asyncio.create_task(self._write_on(), name="webhook refusals")

    async def close(self) -> None:
        """Write what is left, and stop."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.flush()

    def note(self, code: str) -> None:
        """Count one refused delivery."""
        self._counts[code] += 1
        self._has_some.set()

    async def flush(self) -> None:
        """Write the counts to alerts; what cannot be written is kept for the next time."""
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
            log.exception("refused deliveries not written")

    async def _write_on(self) -> None:
        while True:
            await self._has_some.wait()
            await asyncio.sleep(self._gather_seconds)
            self._has_some.clear()
            await self.flush()
            if self._counts:
                self._has_some.set()
