"""When keys were last used, gathered: a statement a minute, and none in a request."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.access import queries

log = structlog.get_logger()

AT_MOST_EVERY = timedelta(minutes=1)
"""However many web processes there are, a key is written once a minute."""


class KeyUses:
    """Notes which keys one web process has seen.

    ``start()`` and ``close()`` belong to the application's lifespan.
    """

    def __init__(self, new_uow: UnitOfWorkFactory) -> None:
        self._new_uow = new_uow
        self._seen: dict[UUID, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_on(), name="uses of API keys")

    async def close(self) -> None:
        """Write what is left, and stop."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.flush()

    def note(self, key_id: UUID, now: datetime) -> None:
        """Take note of a request with this key."""
        self._seen[key_id] = now

    async def flush(self) -> None:
        """Write what was seen; what cannot be written is kept for the next time."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            async with self._new_uow() as uow:
                await uow.commit_each()
                await queries.note_uses(uow.session, seen, at_most_every=AT_MOST_EVERY)
        except Exception:  # this task must outlive a database that is away
            self._seen = seen | self._seen
            log.exception("uses of API keys not written")

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(AT_MOST_EVERY.total_seconds())
            await self.flush()
