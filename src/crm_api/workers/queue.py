"""The queue in Redis, from which arq reads; only this module writes to the queue.

The queue contains nudges. A nudge is a request to run a job soon.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.constants import job_key_prefix
from opentelemetry.trace import SpanKind
from redis.exceptions import RedisError

from crm_api.platform import request_context, tracing
from crm_api.platform.jobs import Job
from crm_api.platform.redis_server import RedisServer

log = structlog.get_logger()

QUEUE_NAME = "crm:jobs"
NUDGE_STEP_SECONDS = 0.1
"""Time is divided into steps of this length, in seconds. A nudge is a request to run a job soon.
All nudges of one job that are due in the same step cause only one run, which starts at the end of
the step."""


def serialize(value: dict[str, Any]) -> bytes:
    """Return a job of arq as JSON instead of arq's pickle; an exception becomes its ``repr``."""
    return json.dumps(value, default=repr).encode()


def deserialize(raw: bytes) -> dict[str, Any]:
    """Return the job that ``serialize`` has written as JSON."""
    value: dict[str, Any] = json.loads(raw)
    return value


def redis_settings(url: str) -> RedisSettings:
    """Return arq's connection settings for the URL of Redis."""
    server = RedisServer.from_url(url)
    return RedisSettings(
        host=server.host,
        port=server.port,
        unix_socket_path=server.socket,
        database=server.database,
        username=server.username,
        password=server.password,
        conn_timeout=2,
        conn_retries=1,
        conn_retry_delay=0,
        ssl=server.tls is not None,
        **(server.tls or {}),
    )


_NEEDED: tuple[tuple[str, ...], ...] = (
    ("SETEX", "60", "0"),
    ("PSETEX", "60000", "0"),
    ("SET", "0", "PX", "60000"),
    ("INCR",),
    ("INCRBY", "1"),
    ("EXPIRE", "60"),
    ("PEXPIRE", "60000"),
    ("GET",),
    ("EXISTS",),
    ("DEL",),
    ("ZADD", "1", "one"),
    ("ZCARD",),
    ("ZSCORE", "one"),
    ("ZRANGE", "0", "-1"),
    ("ZRANGEBYSCORE", "0", "1"),
    ("ZREM", "one"),
)
"""The Redis commands that arq and the rate limit use. Each item is a command and its arguments,
without the key, which is the first argument."""


async def try_redis(url: str) -> dict[str, Any]:
    """Try every Redis command that we need, on temporary keys; return the server's ``INFO``.

    Raises:
        RedisError: Redis cannot be reached, or does not allow a command or a key to this user.
    """
    pool: Any = await create_pool(redis_settings(url))
    try:
        for key in (f"{QUEUE_NAME}:tried", "crm:rate:tried", "arq:tried"):
            async with pool.pipeline(transaction=True) as pipe:
                await pipe.watch(key)
                pipe.multi()
                for name, *rest in _NEEDED:
                    pipe.execute_command(name, key, *rest)
                await pipe.execute()
        script = await pool.script_load("return 1")
        await pool.evalsha(script, 0)
        await pool.dbsize()
        about: dict[str, Any] = await pool.info()
        return about
    finally:
        await pool.aclose(close_connection_pool=True)


def messaging(name: str, job_id: str, *, operation: str, kind: str) -> dict[str, str]:
    """Return the trace attributes ``messaging.*`` of a job.

    Args:
        name: Name of the job. The attributes show it as the name of the queue.
        job_id: arq's id of the queued job.
        operation: ``nudge`` if the job is requested, ``run`` if it runs.
        kind: OpenTelemetry's word for the operation: ``send`` for ``nudge``, ``process`` for
            ``run``.
    """
    return {
        "messaging.system": "redis",
        "messaging.destination.name": name,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.message.id": job_id,
    }


class ArqJobQueue:
    """Sends requests to run a job (nudges) to the workers through Redis.

    The first nudge opens the connection.
    """

    def __init__(self, redis_url: str) -> None:
        self._settings = redis_settings(redis_url)
        self._pool: ArqRedis | None = None
        self._connecting = asyncio.Lock()

    async def push(self, job: Job) -> None:
        """Request a run of the job (send a nudge).

        The run starts ``job.delay_seconds`` from now, rounded up to a multiple of
        ``NUDGE_STEP_SECONDS``. All nudges of a job with the same start time cause one run. This run
        gets the request id and trace ids of the first nudge. If Redis fails, only a warning is
        logged; the schedule runs the job within a minute anyway.
        """
        try:
            pool = await self._connect()
            step = int((time.time() + job.delay_seconds) / NUDGE_STEP_SECONDS) + 1
            job_id = f"nudge:{job.name}:{step:x}"
            with tracing.span(
                f"nudge {job.name}",
                kind=SpanKind.PRODUCER,
                attributes=messaging(job.name, job_id, operation="nudge", kind="send"),
                is_inner=True,
            ) as span:
                new = await pool.enqueue_job(
                    job.name.value,
                    cause=request_context.cause_of_nudge(job.name),
                    _job_id=job_id,
                    _defer_until=datetime.fromtimestamp(step * NUDGE_STEP_SECONDS, UTC),
                )
                span.set_attribute("crm.nudge.joined", new is None)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning(
                "job could not be started early; it will start at its next scheduled time",
                job=job.name,
                error=type(error).__name__,
            )

    async def clear(self) -> None:
        """Remove all queued runs. No work is lost: a worker runs every job when the worker starts.

        If Redis fails, a warning is logged and no error is raised.
        """
        try:
            pool = await self._connect()
            names = await pool.zrange(QUEUE_NAME, 0, -1)
            async with pool.pipeline(transaction=True) as pipe:
                for name in names:
                    pipe.delete(job_key_prefix + name.decode())
                    pipe.zrem(QUEUE_NAME, name)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("queue of jobs not cleared", error=type(error).__name__)

    async def ping(self) -> bool:
        """Return True if Redis answers."""
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
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.aclose(close_connection_pool=True)
            self._pool = None


@asynccontextmanager
async def open_queue(redis_url: str) -> AsyncIterator[ArqJobQueue]:
    """Yield a queue for requests to run jobs; close its connections when the block ends."""
    queue = ArqJobQueue(redis_url)
    try:
        yield queue
    finally:
        await queue.close()
