"""Alive and ready."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.schemas import AliveRead, ReadinessRead
from crm_api.migrate import head_revision, read_standing
from crm_api.routers.deps import State
from crm_api.routers.problems import database_is_away, schema_is_older

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> AliveRead:
    """Say that the process lives."""
    return AliveRead(status="ok")


async def _queue_state(request: Request) -> str:
    queue = request.app.state.queue
    return "ok" if await queue.ping() else "degraded"


@router.get("/readyz", responses={200: {"model": ReadinessRead}, 503: {"model": ReadinessRead}})
async def ready(request: Request, state: State) -> JSONResponse:
    """Say whether requests can be served, and the state of each part.

    503 only when the database cannot be used, the migrations do not fit, or this process is about
    to end; the other parts are listed as ``ok`` or ``degraded`` and leave it 200. ``jobs`` is
    degraded while a scheduled job is overdue.
    """
    if getattr(request.app.state, "is_stopping", False):
        stopping = {"status": "unavailable", "checks": {"process": "stopping"}}
        return JSONResponse(stopping, status_code=503)
    uow: UnitOfWork = state.new_uow()
    checks: dict[str, Any]
    try:
        async with uow:
            checks = await operations.readiness(uow, head=head_revision(), now=clock.now())
            if checks["migrations"] != "ok":
                standing = await read_standing(await uow.session.connection())
                checks["migrations"] = standing.trouble() or "ok"
    except Exception as error:
        if not database_is_away(error) and not schema_is_older(error):
            raise
        checks = {"database": "unavailable", "migrations": "unknown"}
    checks["redis"] = await _queue_state(request)
    if state.replica is not None:
        checks["replica"] = "ok" if state.replica.keeps_up else "degraded"
    is_ready = checks["database"] == "ok" and checks["migrations"] == "ok"
    status = "ok" if is_ready else "unavailable"
    return JSONResponse({"status": status, "checks": checks}, status_code=200 if is_ready else 503)
