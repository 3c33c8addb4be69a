"""Ways to make PostgreSQL and Redis fail during a crash run."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.crash.kills import Kind

from crm_api.dev.server_processes import Server

OWN_APPLICATION = "crm-api crash test"
"""Application name of the test's own database connections. They are never killed."""

_BACKENDS = text("""
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'crm-api %'
      AND application_name <> :ours AND (CAST(:holder AS text) IS NULL OR usename = :holder)
    ORDER BY state = 'idle', pid
""")
_TERMINATE = text("SELECT pg_terminate_backend(pid) FROM unnest(CAST(:pids AS integer[])) AS pid")


@dataclass(kw_only=True)
class Servers:
    """PostgreSQL and Redis, which all processes share."""

    engine: AsyncEngine
    postgres: Server
    redis: Server
    redis_url: str
    redis_pid_file: Path
    _restart_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def kill(self, kind: Kind, *, killed: str | None, fraction: float) -> None:
        """Kill, restart or empty a server.

        Args:
            killed: Name of the process whose database connections are killed; None for any process.
            fraction: A number from 0 to 1 that chooses one of several database connections.
        """
        match kind:
            case Kind.BACKEND_TERMINATED:
                backends = await self._backends(killed)
                await self._terminate(backends[int(fraction * len(backends)) :][:1])
            case Kind.BACKENDS_TERMINATED:
                await self._terminate(await self._backends())
            case Kind.BACKEND_KILLED:
                for pid in (await self._backends(killed))[:1]:
                    os.kill(pid, signal.SIGKILL)
            case Kind.POSTGRES_RESTARTED:
                await self._restart(self.postgres)
            case Kind.REDIS_EMPTIED:
                async with Redis.from_url(self.redis_url) as redis:
                    await redis.flushall()
            case Kind.REDIS_KILLED:
                async with self._restart_lock:
                    os.kill(int(self.redis_pid_file.read_text()), signal.SIGKILL)
                    await asyncio.to_thread(restart, self.redis)

    async def _restart(self, server: Server) -> None:
        async with self._restart_lock:
            await asyncio.to_thread(restart, server)

    async def _backends(self, holder: str | None = None) -> list[int]:
        async with self.engine.connect() as connection:
            found = await connection.scalars(_BACKENDS, {"ours": OWN_APPLICATION, "holder": holder})
            return list(found)

    async def _terminate(self, pids: Sequence[int]) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(_TERMINATE, {"pids": list(pids)})


def restart(server: Server) -> None:
    server.stop()
    server.spawn()
    server.wait_ready()
