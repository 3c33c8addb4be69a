"""Measure `GET /v1/contacts/{id}` through the whole application, and the cost of each layer.

The floor (least possible work) is the same handler with the same query in a bare FastAPI
application without API key, middleware or other routes. Then one layer after the other is added.
With the last layer, the application is the application of `crm-api serve`. Each of these
applications runs in a separate uvicorn process. A client in this process sends requests to one
application at a time, over several connections. Rounds of all applications alternate, and the
medians of the rounds are the result. The CPU time is the time of the web process.

`python -m benchmarks.reading [ROUNDS [CONNECTIONS]]`
"""

import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import psutil
import uvicorn
import uvloop
from fastapi import FastAPI
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from benchmarks.figures import Figure, medians, show
from benchmarks.web import cpu_seconds, listening
from crm_api.app import build_app, create_app
from crm_api.dev.embedded_servers import servers
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactRead
from crm_api.platform import clock, lifetimes, logs
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.jobs import Job
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.settings import Settings
from crm_api.routers.http.deps import Uow
from crm_api.routers.people import contacts as contacts_router

ROUNDS = 15
REQUESTS = 400
"""Number of requests in each round, for each layer."""
CONNECTIONS = 8
AT_LEAST = 0.6
KEY = "a benchmark's admin key of 32 characters"
SECRET_KEY = "a benchmark's secret key of 32 characters"  # noqa: S105 - made up
PHONE = "+16175550142"
BARE, WITH_KEY, ROUTES = (
    "bare FastAPI, same handler and query",
    "+ authentication",
    "+ all routes of the API",
)
MIDDLEWARE = {
    "BodyMiddleware": "+ checks of the body",
    "PreconditionMiddleware": "+ ETag, idempotency, audit log",
    "RateLimitMiddleware": "+ rate limit",
    "GZipMiddleware": "+ compression of large answers",
    "MethodsMiddleware": "+ HEAD, OPTIONS",
    "RequestMiddleware": "+ request id, security headers, log context: the whole",
}
"""The task of each middleware. The innermost middleware comes first."""


async def bare_handler(contact_id: UUID, uow: Uow) -> ContactRead:
    """Return a contact, without checking the caller."""
    async with uow:
        await uow.commit_each()
        contact = await contacts.get_contact(uow, contact_id=contact_id, now=clock.now())
    return ContactRead.of(contact)


def layer_names(settings: Settings) -> list[str]:
    """Return the names of the layers. Each layer includes the layers before it."""
    added = [getattr(one.cls, "__name__", "") for one in build_app(settings).user_middleware]
    return [BARE, WITH_KEY, ROUTES, *(MIDDLEWARE.get(name, name) for name in reversed(added))]


def layer(settings: Settings, number: int) -> FastAPI:
    """Return the application that ends with a layer. ``number`` is the index in ``layer_names``."""
    if number <= 1:
        app = FastAPI()
        handler = contacts_router.get_contact if number else bare_handler
        app.get("/v1/contacts/{contact_id}")(handler)
        return app
    app = build_app(settings)
    app.user_middleware = app.user_middleware[len(app.user_middleware) - (number - 2) :]
    return app


class NoQueue:
    """A queue that drops all jobs, because there is no worker."""

    async def push(self, job: Job) -> None:
        """Drop the job."""

    async def ping(self) -> bool:
        """Return True."""
        return True


def main(
    rounds: int = ROUNDS,
    connections: int = CONNECTIONS,
    requests: int = REQUESTS,
    *,
    only_ends: bool = False,
) -> Iterator[Figure]:
    """Run the benchmark; yield the rate of each layer as a share of the floor, and its CPU time.

    Args:
        rounds: The number of rounds.
        connections: The number of connections that send requests at the same time.
        requests: The number of requests in each round, for each layer.
        only_ends: True to measure only the floor and the whole application.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True)
        )
        copy_cluster(Path(folder))
        urls = stack.enter_context(servers(Path(folder)))
        assert urls.database_url is not None  # noqa: S101 - both servers were asked for
        asyncio.run(upgrade(urls.database_url))
        contact_id = asyncio.run(_add_contact(urls.database_url))
        ours = {
            "CRM_DATABASE_URL": urls.database_url,
            "CRM_REDIS_URL": urls.redis_url or "",
            "CRM_DATA_DIR": folder,
            "CRM_SECRET_KEY": SECRET_KEY,
            "CRM_BOOTSTRAP_API_KEY": KEY,
            # With this value, the service counts requests for the rate limit, but never refuses
            # one.
            "CRM_RATE_LIMIT_PER_SECOND": "1000000",
        }
        others = {name: value for name, value in os.environ.items() if name[:4] != "CRM_"}
        asked = {}
        layers = list(enumerate(layer_names(Settings.from_env(ours))))
        for number, name in (layers[0], layers[-1]) if only_ends else layers:
            port = free_port()
            arguments = ["-m", "benchmarks.reading", "serve", str(number), str(port)]
            process = stack.enter_context(listening(arguments, others | ours, port=port))
            asked[name] = (process, port)
        path = f"/v1/contacts/{contact_id}"
        # The first round is a warm-up and is not included.
        uvloop.run(_round(asked, path, connections, requests))
        yield from medians(
            uvloop.run(_round(asked, path, connections, requests)) for _ in range(rounds)
        )


async def _add_contact(database_url: str) -> UUID:
    async with open_engine(database_url) as engine:
        uow = UnitOfWork(session_factory(engine), NoQueue())
        async with uow:
            body = ContactCreate.model_validate(
                {"phone": PHONE, "first_name": "Ada", "tags": ["porch"], "email": "ada@example.com"}
            )
            made = await contact_changes.create_contact(
                uow, body, now=clock.now(), secret=SECRET_KEY.encode()
            )
    return made.contact.id


async def _serve(number: int, port: int) -> None:
    """Run one application, with the objects that the lifespan of `crm-api serve` opens."""
    logs.configure("json", "WARNING", process="serve")
    settings = Settings.from_env(os.environ)
    app = layer(settings, number)
    whole = create_app(settings)
    async with whole.router.lifespan_context(whole):
        app.state._state.update(whole.state._state)  # noqa: SLF001 - there is no other way
        lifetimes.tune_garbage_collection()
        config = uvicorn.Config(
            app,
            port=port,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
        )
        await uvicorn.Server(config).serve()


async def _round(
    asked: dict[str, tuple[psutil.Process, int]], path: str, connections: int, requests: int
) -> list[Figure]:
    figures: list[Figure] = []
    bare = 0.0
    for name, (process, port) in asked.items():
        wall, cpu = await _ask(process, port, path, connections, requests)
        bare = bare or wall
        is_whole = len(figures) == len(asked) - 1
        figures.append(
            Figure(
                name=name,
                value=bare / wall,
                unit="of the floor",
                wanted=AT_LEAST if is_whole else None,
                cpu_ms=cpu * 1000,
            )
        )
    return figures


async def _ask(
    process: psutil.Process, port: int, path: str, connections: int, requests: int
) -> tuple[float, float]:
    """Send requests over several connections; return wall-clock and CPU seconds per request."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
        "Accept: application/json\r\n\r\n"
    ).encode()
    left = itertools.repeat(None, requests)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"port {port} answered {head!r}")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    before, begun = cpu_seconds(process), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    wall = time.perf_counter() - begun
    return wall / requests, (cpu_seconds(process) - before) / requests


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(_serve(int(sys.argv[2]), int(sys.argv[3])))
    else:
        show(main(*map(int, sys.argv[1:])))
