"""Collect the times at which API keys were used, and store them once a minute in the background."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.lifetimes import BackgroundTask

log = structlog.get_logger()

AT_MOST_EVERY = timedelta(minutes=1)
"""The shortest time between two updates of an API key's ``last_used_at``. It applies to all web
processes together."""
_STORE_USES = text("""
    UPDATE api_key k SET last_used_at = u.at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:instants AS timestamptz[])) AS u (id, at)
    WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at - CAST(:gap AS interval))
""")


class KeyUsage:
    """Collects when each API key was last used in this web process, and stores the times regularly.

    The application calls ``start()`` when it starts and ``close()`` when it stops.
    """

    def __init__(self, new_uow: UnitOfWorkFactory) -> None:
        self._new_uow = new_uow
        self._seen: dict[UUID, datetime] = {}
        self._task = BackgroundTask("API key usage")

    async def start(self) -> None:
        """Start the background task that stores once a minute when API keys were last used."""
        self._task.start(self._write_on())

    async def close(self) -> None:
        """Stop the background task, and store the uses that are not stored yet."""
        if await self._task.close():
            await self.flush()

    def note(self, key_id: UUID, now: datetime) -> None:
        """Record in memory that a request used an API key at ``now``."""
        self._seen[key_id] = now

    async def flush(self) -> None:
        """Store the collected uses; after an error, log the error and keep the uses in memory."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        # All processes lock the rows of API keys in this order, so that they do not deadlock.
        ids = sorted(seen)
        values = {
            "ids": ids,
            "instants": [seen[key_id] for key_id in ids],
            "gap": AT_MOST_EVERY,
        }
        try:
            async with self._new_uow() as uow:
                await uow.commit_each()
                await uow.session.execute(_STORE_USES, values)
        except asyncio.CancelledError:
            # The process stops. The method `close` stores these uses of keys.
            self._seen = seen | self._seen
            raise
        except Exception:
            # The background task must continue after an outage of the database.
            self._seen = seen | self._seen
            log.exception("API key usage not stored")

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(AT_MOST_EVERY.total_seconds())
            await self.flush()
