"""Route that returns the metrics of the service to Prometheus."""

import asyncio
from typing import Annotated, Any

import structlog
from fastapi import Header, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.system_metrics import figures as metrics
from crm_api.domain.monitoring.system_metrics.families import collect
from crm_api.domain.monitoring.system_metrics.figures import Figures
from crm_api.platform import clock, metrics_export
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.deps import AppState, State, Uow
from crm_api.routers.http.problems import database_is_away
from crm_api.routers.http.resource_router import ResourceRouter

log = structlog.get_logger()

router = ResourceRouter(tags=["health"])

SCRAPE_SECONDS = 5.0
"""The longest time in seconds for reading the metrics from the database, including the wait for a
connection.

It is half of the default timeout of Prometheus for a request.
"""


EXAMPLE = (
    "# HELP crm_webhook_events Received events that are not applied: pending, failed, dead.\n"
    "# TYPE crm_webhook_events gauge\n"
    'crm_webhook_events{status="pending"} 3.0\n'
)
FIGURES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string"}, "example": EXAMPLE},
            "application/openmetrics-text": {
                "schema": {"type": "string"},
                "example": f"{EXAMPLE}# EOF\n",
            },
        }
    }
}


@router.get("/metrics", response_class=Response, responses=FIGURES)
async def read_metrics(
    uow: Uow,
    state: State,
    accept: Annotated[
        str,
        Header(
            description="The media type of the response: `text/plain` or "
            "`application/openmetrics-text`.",
            examples=["text/plain"],
        ),
    ] = "",
) -> Response:
    """Return the metrics of the service in the format of Prometheus. No API key is needed.

    Metrics about backlogs and failures describe the whole service. If the database is unavailable
    or too busy, they are left out and `crm_database_up` is 0. Metrics with the label `process`
    describe this web process, or the worker that `crm-api up` runs on this machine.
    """
    figures = await _read(uow, state)
    room = await asyncio.to_thread(metrics_export.disk_metrics, state.settings.data_dir)
    families = [*collect(figures), *room, *metrics_export.own_metrics("serve")]
    if state.settings.worker_metrics_socket is not None:
        families += await metrics_export.read_worker_metrics(state.settings.worker_metrics_socket)
    collected = CollectorRegistry(auto_describe=False)
    collected.register(metrics_export.MergedMetrics(families))
    write, media_type = choose_encoder(accept)
    return Response(write(collected), headers={"Content-Type": media_type})


async def _read(uow: UnitOfWork, state: AppState) -> Figures | None:
    """Read the metrics from the database.

    Return None if the database is unavailable or does not respond in time.
    """
    times = SendTimes.from_settings(state.settings)
    try:
        async with asyncio.timeout(SCRAPE_SECONDS), uow:
            return await metrics.read(uow, times=times, now=clock.now())
    except Exception as error:
        if not database_is_away(error):
            raise
        log.warning("metrics not read from the database", error=type(error).__name__)
        return None
