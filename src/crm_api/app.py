"""Wires the web process: lifespan, middleware, routers, problem handlers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.gzip import GZipMiddleware

from crm_api import clock, telling
from crm_api.db import UnitOfWork, create_engine, session_factory
from crm_api.domain.access import service as access
from crm_api.domain.access.uses import KeyUses
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.events.hub import EventHub
from crm_api.domain.lookout.task import Lookout
from crm_api.domain.media.store import MediaStore
from crm_api.domain.playground.following import follow_clock
from crm_api.domain.reconciliation.watch import ReceiverWatch
from crm_api.domain.webhooks.intake import EventIntake
from crm_api.domain.webhooks.refusals import RefusalAlerts
from crm_api.hot_reads import HotReads
from crm_api.jobs import JobQueue
from crm_api.mailing import open_mailer
from crm_api.postgres import REQUEST_SECONDS
from crm_api.provider import open_provider
from crm_api.replica import open_replica
from crm_api.routers import (
    access as access_router,
)
from crm_api.routers import (
    audit_log,
    auth,
    batch,
    campaigns,
    compliance,
    consent,
    contacts,
    conversations,
    custom_fields,
    deprecation,
    do_not_contact,
    erasures,
    events,
    health,
    imports,
    lines,
    lists,
    media,
    merging,
    metrics,
    notes,
    operations,
    phone_validations,
    problems,
    properties,
    recipients,
    reconciliation,
    reference,
    sandbox,
    segments,
    tags,
    templates,
    users,
    webhook_endpoints,
    webhook_health,
    webhooks,
)
from crm_api.routers.bodies import BodyMiddleware
from crm_api.routers.deps import AppState
from crm_api.routers.event_frames import write_events
from crm_api.routers.methods import MethodsMiddleware
from crm_api.routers.middleware import RequestMiddleware
from crm_api.routers.openapi.document import enrich
from crm_api.routers.openapi.serving import DocumentRoute
from crm_api.routers.paths import Paths, read_paths
from crm_api.routers.preconditions import PreconditionMiddleware
from crm_api.routers.rate_limits import RateLimitMiddleware, RequestRate
from crm_api.settings import Settings
from crm_api.signing import open_key_ring
from crm_api.workers.queue import ArqJobQueue

log = structlog.get_logger()

SMALLEST_COMPRESSED = 1_400
"""Bytes: what fits into one packet is not worth compressing."""

DESCRIPTION = """Text campaigns through an OpenPhone (Quo) number: import a list, write a text,
start; replies, calls and opt-outs come back by webhook.

- **Who calls**: `Authorization: Bearer` with an API key or the access token of a user. Every
  operation names the scope that it needs; `admin` has them all.
- **Problems** are `application/problem+json` (RFC 9457) with a stable `code`, and a `detail` that
  says what to do.
- **Lists** have `data` and `next_cursor`; the next page is asked for with `cursor`.
- **Once only**: a POST with an `Idempotency-Key` may be repeated; it is done once.
- **Only what was seen**: `If-Match` with an `ETag` refuses to change what has changed since.
"""


NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI's own, which a variable of the environment can switch on: it tells the address with its
query, and the messages of exceptions, where people's numbers stand. Ours is ``tracing``."""

ROUTERS = (
    # Before the contact's own routes: `merge` would be taken for an id.
    merging,
    batch,
    tags,
    contacts,
    imports,
    lists,
    lines,
    campaigns,
    recipients,
    conversations,
    webhooks,
    webhook_endpoints,
    consent,
    do_not_contact,
    erasures,
    media,
    notes,
    events,
    segments,
    templates,
    custom_fields,
    phone_validations,
    properties,
    reconciliation,
    webhook_health,
    compliance,
    operations,
    access_router,
    audit_log,
    auth,
    users,
    sandbox,
    health,
    metrics,
)
"""Every part of the API, in the order in which a path is looked for."""


def own_routes() -> tuple[APIRoute, ...]:
    """Return every route of the API, in the order in which a path is looked for."""
    routes = [route for module in ROUTERS for route in module.router.routes]
    return (webhooks.receive_route, *(one for one in routes if isinstance(one, APIRoute)))


@cache
def _paths() -> Paths:
    """Read the routes once a process; tests make many applications of them."""
    return read_paths(own_routes())


class CrmApi(FastAPI):
    """FastAPI with a document that is complete."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = enrich(super().openapi(), own_routes())
        return self.openapi_schema


def create_app(settings: Settings) -> FastAPI:
    """Build the application; connections are opened by its lifespan.

    Raises:
        SettingsError: The file of rules cannot be used.
    """
    rules = load_rules(settings.rules_name)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_engine(
            settings.require_database_url(),
            application="crm-api serve",
            statement_seconds=REQUEST_SECONDS,
        )
        queue = ArqJobQueue(settings.require_redis_url())
        sessions = session_factory(engine)
        provider = open_provider(settings)
        intake = EventIntake(settings.require_database_url(), queue=queue)
        refusals = RefusalAlerts(lambda: UnitOfWork(sessions, queue))
        watch = ReceiverWatch(lambda: UnitOfWork(sessions, queue))
        lookout = Lookout(
            lambda: UnitOfWork(sessions, queue), settings=settings, mailer=open_mailer(settings)
        )
        state = AppState(
            settings=settings,
            new_uow=lambda: UnitOfWork(sessions, queue),
            secret=settings.require_secret_key(),
            provider=provider,
            rules=rules,
            replica=open_replica(settings, sessions, queue),
        )
        attach(app, state, queue=queue, intake=intake, refusals=refusals)
        rate = RequestRate(settings.require_redis_url(), quota=settings.rate_limit_per_second)
        app.state.rate = rate
        try:
            async with follow_clock(settings, state.new_uow), telling.watching_the_loop():
                await intake.start()
                await watch.start()
                await lookout.start()
                await refusals.start()
                await app.state.events.start()
                await app.state.key_uses.start()
                await app.state.hot_reads.start()
                if state.replica is not None:
                    await state.replica.start()
                await _accept_bootstrap_key(state)
                yield
        finally:
            await app.state.events.close()
            await app.state.key_uses.close()
            await app.state.hot_reads.close()
            await lookout.close()
            if state.replica is not None:
                await state.replica.close()
            await watch.close()
            await intake.close()
            await refusals.close()
            await provider.aclose()
            await rate.close()
            await queue.close()
            await engine.dispose()

    return build_app(settings, lifespan=lifespan)


async def _accept_bootstrap_key(state: AppState) -> None:
    key = state.settings.bootstrap_api_key
    if key is None:
        return
    async with state.new_uow() as uow:
        await access.ensure_admin_key(uow, text=key.get_secret_value(), now=clock.now())


def build_app(
    settings: Settings,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """Build the application without its connections; tests put their own in its state."""
    app = CrmApi(
        title="crm-api",
        summary="Text campaigns from one's own numbers, with replies, calls and consent.",
        version="0.1.0",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.state.paths = _paths()
    problems.install(app)
    deprecation.install(app, own_routes())
    app.add_middleware(BodyMiddleware)
    app.add_middleware(PreconditionMiddleware)
    app.add_middleware(RateLimitMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST_COMPRESSED, compresslevel=4)
    app.add_middleware(MethodsMiddleware, is_secure=settings.public_base_url.startswith("https://"))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[
                "X-Request-ID",
                "ETag",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
                "Idempotent-Replayed",
                "Deprecation",
                "Sunset",
                "Link",
            ],
        )
    app.add_middleware(RequestMiddleware)
    app.router.routes.insert(0, DocumentRoute(app).route)
    # First of all routes: the hot path must not be matched against every other one before.
    app.router.routes.insert(0, webhooks.receive_route)
    for module in (*ROUTERS, reference):
        app.include_router(module.router)
    return app


def attach(
    app: FastAPI,
    state: AppState,
    *,
    queue: JobQueue,
    intake: EventIntake,
    refusals: RefusalAlerts,
) -> None:
    """Put the parts that the lifespan would make into the application's state."""
    app.state.crm = state
    app.state.queue = queue
    app.state.intake = intake
    app.state.media = MediaStore.from_settings(state.settings)
    app.state.refusals = refusals
    app.state.key_uses = KeyUses(state.new_uow)
    app.state.hot_reads = HotReads(state.settings.require_database_url(), state.new_uow)
    app.state.events = EventHub(state.new_uow, write=write_events)
    app.state.keys = open_key_ring(state.settings, new_uow=state.new_uow)
