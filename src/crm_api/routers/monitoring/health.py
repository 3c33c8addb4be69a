"""Routes that show whether the process is running and whether it can serve requests."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from crm_api.domain.monitoring import readiness
from crm_api.domain.monitoring.readiness import AliveRead, ReadinessRead
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.schema_revisions import head_revision, read_schema_state
from crm_api.routers.http.deps import State
from crm_api.routers.http.problems import database_is_away, schema_is_older
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> AliveRead:
    """Respond with 200 while this process runs, even if the database is unavailable."""
    return AliveRead(status="ok")


async def _queue_state(request: Request) -> str:
    queue = request.app.state.queue
    return "ok" if await queue.ping() else "degraded"


@router.get("/readyz", responses={200: {"model": ReadinessRead}, 503: {"model": ReadinessRead}})
async def ready(request: Request, state: State) -> JSONResponse:
    """Show whether this process can serve requests, and the state of each part that it needs.

    The status code is 503 if the database is unavailable, its schema does not fit this release, or
    this process is stopping. Other parts do not change the code: each is ``ok`` or ``degraded``.
    ``jobs`` is ``degraded`` while a scheduled job is overdue.
    """
    if getattr(request.app.state, "is_stopping", False):
        stopping = {"status": "unavailable", "checks": {"process": "stopping"}}
        return JSONResponse(stopping, status_code=503)
    uow: UnitOfWork = state.new_uow()
    checks: dict[str, Any]
    try:
        async with uow:
            checks = await readiness.read_readiness(uow, head=head_revision(), now=clock.now())
            if checks["migrations"] != "ok":
                schema_state = await read_schema_state(await uow.session.connection())
                checks["migrations"] = schema_state.trouble() or "ok"
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
