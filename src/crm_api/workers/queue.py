"""The only file that pushes to arq."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError

from crm_api import cause
from crm_api.jobs import Job

log = structlog.get_logger()

QUEUE_NAME = "crm:jobs"
NUDGE_STEP_SECONDS = 0.1
"""Nudges for the same work within one step are one job; at most so much later it runs."""


def serialize(value: dict[str, Any]) -> bytes:
    """Write a job as JSON; an exception becomes its ``repr`` (arq would pickle)."""
    return json.dumps(value, default=repr).encode()


def deserialize(raw: bytes) -> dict[str, Any]:
    """Read a job back."""
    value: dict[str, Any] = json.loads(raw)
    return value


def redis_settings(url: str) -> RedisSettings:
    """Read the URL ourselves: arq's own parser leaves %-escapes in passwords."""
    parts = urlsplit(url)
    common: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "conn_timeout": 2,
        "conn_retries": 1,
        "conn_retry_delay": 0,
    }
    if parts.scheme == "unix":
        return RedisSettings(unix_socket_path=unquote(parts.path), **common)
    database = parts.path.strip("/")
    return RedisSettings(
        host=parts.hostname or "localhost",
        port=parts.port or 6379,
        database=int(database) if database else 0,
        ssl=parts.scheme == "rediss",
        **common,
    )


class ArqJobQueue:
    """Pushes nudges; connects when first needed and again after Redis was away."""

    def __init__(self, redis_url: str) -> None:
        self._settings = redis_settings(redis_url)
        self._pool: ArqRedis | None = None
        self._connecting = asyncio.Lock()

    async def push(self, job: Job) -> None:
        """Enqueue the job for the start of the next step, so that many nudges are one run.

        Whoever asks within a step shares a job that cannot have started yet: it would look at the
        rows too early, and its id would swallow the nudge. It tells of the first of them what
        caused it. A failure is logged, not raised: the row is safe, and cron picks it up.
        """
        try:
            pool = await self._connect()
            step = int((time.time() + job.delay_seconds) / NUDGE_STEP_SECONDS) + 1
            await pool.enqueue_job(
                job.name.value,
                cause=cause.of_nudge(job.name),
                _job_id=f"nudge:{job.name}:{step:x}",
                _defer_until=datetime.fromtimestamp(step * NUDGE_STEP_SECONDS, UTC),
            )
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("nudge lost; cron will do it", job=job.name, error=type(error).__name__)

    async def ping(self) -> bool:
        """True when Redis answers."""
        try:
            await (await self._connect()).ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def _connect(self) -> ArqRedis:
        async with self._connecting:
            if self._pool is None:
                self._pool = await create_pool(
                    self._settings,
                    job_serializer=serialize,
                    job_deserializer=deserialize,
                    default_queue_name=QUEUE_NAME,
                )
            return self._pool

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose(close_connection_pool=True)
            self._pool = None
