"""The figures of the running system, for Prometheus."""

import asyncio
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from crm_api import clock, telling
from crm_api.db import UnitOfWork
from crm_api.domain.operations import metrics
from crm_api.domain.operations.metrics import Figures
from crm_api.domain.operations.metrics_families import collect
from crm_api.domain.sends.times import SendTimes
from crm_api.routers.deps import AppState, State, Uow
from crm_api.routers.problems import database_is_away

log = structlog.get_logger()

router = APIRouter(tags=["health"])

SCRAPE_SECONDS = 5.0
"""Half of what a scrape may take by default, the wait for a connection included."""


FIGURES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/openmetrics-text": {"schema": {"type": "string"}},
        }
    }
}


@router.get("/metrics", response_class=Response, responses=FIGURES)
async def read_metrics(uow: Uow, state: State, accept: Annotated[str, Header()] = "") -> Response:
    """Tell the figures of the whole system in the format of Prometheus.

    What waits and what went wrong is read from the database, so that any web process answers for
    all of them. What has the label `process` this process has measured itself, or the worker that
    `crm-api up` runs beside it. Like `/healthz` it takes no key: there are counts and times in it,
    and nothing about a person. While the database is away or too busy, `crm_database_up` is 0 and
    what would be read from it is left out.
    """
    figures = await _read(uow, state)
    room = await asyncio.to_thread(telling.room, state.settings.data_dir)
    families = [*collect(figures), *room, *telling.own("serve")]
    if state.settings.worker_metrics_socket is not None:
        families += await telling.ask(state.settings.worker_metrics_socket)
    collected = CollectorRegistry(auto_describe=False)
    collected.register(telling.Told(families))
    write, media_type = choose_encoder(accept)
    return Response(write(collected), headers={"Content-Type": media_type})


async def _read(uow: UnitOfWork, state: AppState) -> Figures | None:
    """Read what the database knows; None when it does not say so in time."""
    times = SendTimes.from_settings(state.settings)
    try:
        async with asyncio.timeout(SCRAPE_SECONDS), uow:
            return await metrics.read(uow, times=times, now=clock.now())
    except Exception as error:
        if not database_is_away(error):
            raise
        log.warning("no figures of the database", error=type(error).__name__)
        return None
