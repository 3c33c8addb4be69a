"""Routes with which users read and change their own preferences and saved views."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.identity.preferences import service as preferences
from crm_api.domain.identity.preferences.models import ViewedList
from crm_api.domain.identity.preferences.schemas import (
    PreferencesRead,
    PreferencesUpdate,
    SavedViewCreate,
    SavedViewRead,
    SavedViewUpdate,
)
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import SignedIn, Uow
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["preferences"])


@router.get("/preferences", openapi_extra=fails_with("user_needed"))
async def read_preferences(uow: Uow, caller: SignedIn) -> PreferencesRead:
    """Return your preferences."""
    async with uow:
        found = await preferences.read_preferences(uow, user_id=caller.user_id)
    return PreferencesRead.of(found)


@router.patch("/preferences", openapi_extra=fails_with("user_needed"))
async def update_preferences(
    body: PreferencesUpdate, uow: Uow, caller: SignedIn
) -> PreferencesRead:
    """Change your preferences."""
    async with uow:
        changed = await preferences.update_preferences(
            uow, body, user_id=caller.user_id, now=clock.now()
        )
    return PreferencesRead.of(changed)


@router.post(
    "/saved-views",
    status_code=201,
    openapi_extra=fails_with("saved_view_exists", "user_needed"),
)
async def create_saved_view(body: SavedViewCreate, uow: Uow, caller: SignedIn) -> SavedViewRead:
    """Save a filter, such as a filter for tasks, under a name. Only you can see the saved view."""
    async with uow:
        view = await preferences.create_saved_view(
            uow, body, user_id=caller.user_id, now=clock.now()
        )
    return SavedViewRead.of(view)


@router.get(
    "/saved-views",
    response_model=PageRead[SavedViewRead],
    responses=csv_list_of(SavedViewRead),
    openapi_extra=fails_with("user_needed"),
)
async def list_saved_views(
    listed: Listed,
    caller: SignedIn,
    viewed: Annotated[
        ViewedList | None,
        Query(
            alias="list",
            description="Return only views of this list of the console, such as contacts.",
        ),
    ] = None,
) -> PageRead[SavedViewRead] | Response:
    """List your saved views, newest first. A saved view is a filter with a name.

    A CSV response contains all saved views that match.
    """

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[SavedViewRead]:
        found = await preferences.list_saved_views(
            uow, user_id=caller.user_id, viewed=viewed, cursor=cursor, limit=limit
        )
        return PageRead.of(found, SavedViewRead.of)

    return await listed.respond(SavedViewRead, read_page, name="saved-views")


@router.get("/saved-views/{view_id}", openapi_extra=fails_with("user_needed"))
async def get_saved_view(view_id: UUID, uow: Uow, caller: SignedIn) -> SavedViewRead:
    """Return one of your saved views."""
    async with uow:
        found = await preferences.read_saved_view(uow, view_id=view_id, user_id=caller.user_id)
    return SavedViewRead.of(found)


@router.patch(
    "/saved-views/{view_id}", openapi_extra=fails_with("saved_view_exists", "user_needed")
)
async def update_saved_view(
    view_id: UUID, body: SavedViewUpdate, uow: Uow, caller: SignedIn
) -> SavedViewRead:
    """Change the name or the filter of one of your saved views."""
    async with uow:
        view = await preferences.update_saved_view(
            uow, body, view_id=view_id, user_id=caller.user_id, now=clock.now()
        )
    return SavedViewRead.of(view)


@router.delete("/saved-views/{view_id}", status_code=204, openapi_extra=fails_with("user_needed"))
async def delete_saved_view(view_id: UUID, uow: Uow, caller: SignedIn) -> None:
    """Delete one of your saved views."""
    async with uow:
        await preferences.delete_saved_view(uow, view_id=view_id, user_id=caller.user_id)
