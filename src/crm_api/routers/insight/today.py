"""Route of the console's first screen: waiting people, due tasks, open alerts and more."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.insight.today import TodayRead, Viewer, read_today
from crm_api.domain.kit.fields import TimeZoneName
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform import clock
from crm_api.routers.http.deps import AnyCaller, State, Uow
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1", tags=["insight"])


@router.get("/today")
async def get_today(
    uow: Uow,
    state: State,
    caller: AnyCaller,
    timezone: Annotated[
        TimeZoneName | None,
        Query(
            description="The IANA time zone of the day. The default is the time zone in your "
            "preferences, or UTC.",
            examples=["America/New_York"],
        ),
    ] = None,
) -> TodayRead:
    """Return the work of today in one response: waiting people, due tasks, open alerts and more.

    Each part has one topic, such as `tasks`. Its entries have the same fields as in other
    operations, such as `GET /v1/tasks`. A part is null if you lack the scope that the part needs.
    """
    viewer = Viewer(
        id=UUID(caller.id),
        user_id=None if caller.user is None else caller.user.id,
        may=caller.may,
    )
    async with uow:
        return await read_today(
            uow,
            viewer,
            timezone=timezone,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
