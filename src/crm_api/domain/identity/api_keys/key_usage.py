"""Collect when keys were last used and store it once a minute, outside of requests."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

AT_MOST_EVERY = timedelta(minutes=1)
"""A key is written at most once in this time, however many web processes run."""
_STORE_USES = text("""
    UPDATE api_key k SET last_used_at = u.at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:instants AS timestamptz[])) AS u (id, at)
    WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at - CAST(:gap AS interval))
""")


class KeyUsage:
    """Collects the uses of keys in one web process.

    ``start()`` and ``close()`` belong to the application's lifespan.
    """

    def __init__(self, new_uow: UnitOfWorkFactory) -> None:
        self._new_uow = new_uow
        self._seen: dict[UUID, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the task that stores the uses."""
        self._task = asyncio.create_task(self._write_on(), name="uses of API keys")

    async def close(self) -> None:
        """Stop the task, and store the remaining uses."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.flush()

    def note(self, key_id: UUID, now: datetime) -> None:
        """Note that a request used this key."""
        self._seen[key_id] = now

    async def flush(self) -> None:
        """Store the collected uses; if that fails, keep them for the next time."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        ids = sorted(seen)  # all processes lock the rows in the same order
        values = {
            "ids": ids,
            "instants": [seen[key_id] for key_id in ids],
            "gap": AT_MOST_EVERY,
        }
        try:
            async with self._new_uow() as uow:
                await uow.commit_each()
                await uow.session.execute(_STORE_USES, values)
        except Exception:  # the task must survive an outage of the database
            self._seen = seen | self._seen
            log.exception("uses of API keys not written")

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(AT_MOST_EVERY.total_seconds())
            await self.flush()
