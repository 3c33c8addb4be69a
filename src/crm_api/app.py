"""Build the web application: its lifespan, middlewares, routers and exception handlers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import structlog
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from crm_api.domain.alerts.mail import open_mailer
from crm_api.domain.consent.legal_rules.rules import RuleBook, load_rules
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.key_usage import KeyUsage
from crm_api.domain.inbound.webhook_setup.keyring import open_key_ring
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.provider.openphone.client import open_provider
from crm_api.platform import clock, metrics_export
from crm_api.platform.clock_follower import follow_clock
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.hot_reads import HotReads
from crm_api.platform.jobs import JobQueue
from crm_api.platform.lifetimes import Lifetime
from crm_api.platform.postgres import REQUEST_SECONDS
from crm_api.platform.replica import open_replica
from crm_api.platform.settings import Settings
from crm_api.routers.alerts import alerts
from crm_api.routers.campaigns import (
    approvals,
    calendar,
    campaigns,
    launch_check,
    recipients,
    templates,
)
from crm_api.routers.consent import consent, legal_rules
from crm_api.routers.http import console_pages, deprecation, problems, reference_page
from crm_api.routers.http.bodies import BodyMiddleware
from crm_api.routers.http.deps import AppState
from crm_api.routers.http.masking import MaskingMiddleware
from crm_api.routers.http.middleware import MethodsMiddleware, RequestMiddleware
from crm_api.routers.http.openapi.document import enrich
from crm_api.routers.http.openapi.serving import DocumentRoute
from crm_api.routers.http.paths import Paths, read_paths
from crm_api.routers.http.preconditions import PreconditionMiddleware
from crm_api.routers.http.query_parameters import refuse_unknown_parameters
from crm_api.routers.http.rate_limits import RateLimitMiddleware, RequestRate
from crm_api.routers.identity import api_keys as access_router
from crm_api.routers.identity import audit_log, auth, colleagues, passwords, preferences, users
from crm_api.routers.imports import do_not_contact, imports
from crm_api.routers.inbound import received_events, reconciliation, webhook_health
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.routers.inbound.receiver import RECEIVER_PATH, QuickReceiver
from crm_api.routers.inbound.receiver_watch import ReceiverWatch, RefusalAlerts
from crm_api.routers.insight import attribution, costs, engagement, funnel, holdouts, insight, today
from crm_api.routers.messaging import (
    company_settings,
    conversations,
    lines,
    manual_messages,
    media,
    media_uploads,
    provider_stops,
    reply_classes,
)
from crm_api.routers.monitoring import health, metrics_endpoint, sandbox, scheduled_jobs
from crm_api.routers.monitoring.watchdog_task import WatchdogTask
from crm_api.routers.office import inbox, inbox_bulk, messages, saved_replies
from crm_api.routers.outbound import events, push_subscriptions, webhook_endpoints
from crm_api.routers.outbound.event_frames import write_events
from crm_api.routers.outbound.event_hub import EventHub
from crm_api.routers.outbound.event_streams import AccessChecks, OpenStreams
from crm_api.routers.people import (
    batch,
    contacts,
    custom_fields,
    deduplication,
    erasures,
    lists,
    notes,
    phone_validations,
    properties,
    segments,
    tags,
    tasks,
)
from crm_api.routers.sales import (
    appointments,
    bills,
    calendar_accounts,
    calendar_feeds,
    outcomes,
    reminders,
)
from crm_api.workers.queue import open_queue

log = structlog.get_logger()

SMALLEST_COMPRESSED = 1_400
"""The smallest number of bytes of a response that is compressed.

A smaller response fits into one network packet, even without compression.
"""

DESCRIPTION = """Send campaigns of text messages through an OpenPhone (Quo) number: import a list of
contacts, write a message, and start the campaign. The service receives replies, calls and opt-outs
from the provider by webhook.

- **Authentication**: Send the header `Authorization: Bearer` with an API key or with the access
  token of a user. Each operation states the scope that it needs. `admin` includes every scope.
- **Errors** are `application/problem+json` (RFC 9457). `code` is stable, and `detail` says what
  happened and what to do next.
- **Lists** have the fields `data` and `next_cursor`. Send the value of `next_cursor` as the
  parameter `cursor` to get the next page.
- **Repeated requests**: If you repeat a POST with the same `Idempotency-Key`, the operation runs
  only once.
- **Lost updates**: When you read a resource, the response has an `ETag`. Send this value in the
  header `If-Match` of your change. If the resource has changed since then, your change is refused.
"""


NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""Options that turn off the telemetry of FastAPI. Otherwise, an environment variable could turn it
on. It would export URLs with query strings, and messages of exceptions. Both may contain phone
numbers. This service uses ``platform/tracing`` instead."""

ROUTERS = (
    # This router must be before the router of contacts, which would parse `merge` in a path as the
    # id of a contact.
    deduplication,
    batch,
    tags,
    contacts,
    imports,
    lists,
    lines,
    company_settings,
    # This router must be before the router of campaigns, which would parse `calendar` in a path as
    # the id of a campaign.
    calendar,
    campaigns,
    approvals,
    launch_check,
    recipients,
    inbox_bulk,
    inbox,
    conversations,
    messages,
    reply_classes,
    manual_messages,
    saved_replies,
    received_events,
    webhook_endpoints,
    consent,
    do_not_contact,
    erasures,
    media,
    media_uploads,
    notes,
    tasks,
    events,
    segments,
    templates,
    custom_fields,
    phone_validations,
    properties,
    appointments,
    bills,
    calendar_accounts,
    calendar_feeds,
    reminders,
    provider_stops,
    outcomes,
    attribution,
    costs,
    engagement,
    funnel,
    holdouts,
    insight,
    today,
    reconciliation,
    webhook_health,
    legal_rules,
    scheduled_jobs,
    alerts,
    access_router,
    audit_log,
    auth,
    passwords,
    preferences,
    push_subscriptions,
    users,
    colleagues,
    sandbox,
    health,
    metrics_endpoint,
)
"""All routers. The path of a request is compared with their routes in this order."""


def own_routes() -> tuple[APIRoute, ...]:
    """Return all routes of the API; the first route that matches a path handles the request."""
    routes = [route for module in ROUTERS for route in module.router.routes]
    return (received_events.receive_route, *(one for one in routes if isinstance(one, APIRoute)))


@cache
def _paths() -> Paths:
    """Return the paths of all routes; cached, because tests build many applications."""
    return read_paths(own_routes())


class CrmApi(FastAPI):
    """The FastAPI application, with a shortcut for webhooks of the provider.

    A ``QuickReceiver`` stores a valid webhook and responds without the middlewares, because this
    takes less CPU time. All other requests pass through the middlewares. While tracing is on,
    webhooks also pass through the middlewares. ``routers/http/openapi`` completes the OpenAPI
    document of the application.
    """

    def __init__(self, *, is_secure: bool, **options: Any) -> None:  # noqa: ANN401 - FastAPI's own
        super().__init__(**options)
        self._receiver = QuickReceiver(super().__call__, is_secure=is_secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request, or the start and the end of the process (the ASGI lifespan)."""
        if scope.get("path") == RECEIVER_PATH and scope.get("method") == "POST":
            scope["app"] = self
            await self._receiver(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Build the OpenAPI document if it is not stored yet, and return it."""
        if self.openapi_schema is None:
            self.openapi_schema = enrich(super().openapi(), own_routes())
        return self.openapi_schema


def create_app(settings: Settings) -> FastAPI:
    """Return the web application; its lifespan opens connections and starts background tasks.

    Raises:
        SettingsError: The file of legal rules cannot be used.
    """
    rules = load_rules(settings.rules_name)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Lifetime() as life:
            await _open(app, settings, rules, life)
            yield

    return build_app(settings, lifespan=lifespan)


async def _open(app: FastAPI, settings: Settings, rules: RuleBook, life: Lifetime) -> None:
    """Open all connections and start the background tasks; ``life`` closes them at the end."""
    engine = await life.open(
        open_engine(
            settings.require_database_url(),
            application="crm-api serve",
            statement_seconds=REQUEST_SECONDS,
        )
    )
    queue = await life.open(open_queue(settings.require_redis_url()))
    rate = RequestRate(settings.require_redis_url(), quota=settings.rate_limit_per_second)
    life.at_end(rate.close)
    sessions = session_factory(engine)
    state = AppState(
        settings=settings,
        new_uow=lambda: UnitOfWork(sessions, queue),
        secret=settings.require_secret_key(),
        provider=await life.open(open_provider(settings)),
        rules=rules,
        replica=open_replica(settings, sessions, queue),
    )
    intake = EventIntake(settings.require_database_url(), queue=queue)
    refusals = RefusalAlerts(state.new_uow)
    attach(app, state, queue=queue, intake=intake, refusals=refusals)
    app.state.rate = rate
    await life.open(metrics_export.measure_loop_lag())
    await life.open(follow_clock(settings, state.new_uow))
    await life.start(refusals)
    await life.start(intake)
    await life.start(ReceiverWatch(state.new_uow))
    if state.replica is not None:
        await life.start(state.replica)
    await life.start(WatchdogTask(state.new_uow, settings=settings, mailer=open_mailer(settings)))
    await life.start(app.state.hot_reads)
    await life.start(app.state.key_uses)
    await life.start(app.state.events)
    await _accept_bootstrap_key(state)


async def _accept_bootstrap_key(state: AppState) -> None:
    if (key := state.settings.bootstrap_api_key) is not None:
        async with state.new_uow() as uow:
            await access.ensure_admin_key(uow, text=key.get_secret_value(), now=clock.now())


def build_app(
    settings: Settings,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """Build the web application without opening connections.

    ``create_app`` passes a lifespan that opens the connections when the process starts. Tests pass
    no lifespan; they set the objects for the routes with ``attach``.
    """
    is_secure = settings.public_base_url.startswith("https://")
    app = CrmApi(
        is_secure=is_secure,
        title="crm-api",
        summary="Send text campaigns from your own phone numbers, and handle replies and opt-outs.",
        version="0.1.0",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
        dependencies=[Depends(refuse_unknown_parameters)],
    )
    app.state.paths = _paths()
    problems.install(app)
    deprecation.install(app, own_routes())
    app.add_middleware(MaskingMiddleware)
    app.add_middleware(BodyMiddleware)
    app.add_middleware(PreconditionMiddleware)
    app.add_middleware(RateLimitMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST_COMPRESSED, compresslevel=4)
    app.add_middleware(MethodsMiddleware)
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
    app.add_middleware(RequestMiddleware, is_secure=is_secure)
    if settings.trusted_proxies:
        # This middleware is added last, so it runs first. So all other code gets the address of the
        # client, not that of the proxy.
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    app.router.routes.insert(0, DocumentRoute(app).route)
    # The receiver of webhooks becomes the first route. This saves time for each webhook, because
    # its path is not compared with other routes.
    app.router.routes.insert(0, received_events.receive_route)
    for module in (*ROUTERS, reference_page):
        app.include_router(module.router)
    app.router.routes.extend(console_pages.console_routes())
    app.add_exception_handler(HTTPException, console_pages.on_unknown_path)
    return app


def attach(
    app: FastAPI,
    state: AppState,
    *,
    queue: JobQueue,
    intake: EventIntake,
    refusals: RefusalAlerts,
) -> None:
    """Store in the application's state the objects that routes and middlewares use.

    Examples are the database and the job queue. The lifespan calls this function. Tests call it
    with their own objects.
    """
    app.state.crm = state
    app.state.queue = queue
    app.state.intake = intake
    app.state.media = MediaStore.from_settings(state.settings)
    app.state.refusals = refusals
    app.state.key_uses = KeyUsage(state.new_uow)
    app.state.hot_reads = HotReads(state.settings.require_database_url(), state.new_uow)
    app.state.streams = OpenStreams(most=state.settings.event_streams_per_caller)
    app.state.access_checks = AccessChecks()
    app.state.events = EventHub(state.new_uow, write=write_events)
    app.state.keys = open_key_ring(state.settings, new_uow=state.new_uow)
