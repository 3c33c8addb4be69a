"""Read and change the preferences and the saved views of a user."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from crm_api.domain.identity.preferences.models import (
    Language,
    SavedView,
    Theme,
    UserPreferences,
    ViewedList,
)
from crm_api.domain.identity.preferences.schemas import (
    PreferencesUpdate,
    SavedViewCreate,
    SavedViewUpdate,
)
from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example_id
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


class SavedViewNotFoundError(NotFoundError):
    """The user has no saved view with this id."""

    code = "saved_view_not_found"
    title = "Saved view not found"
    detail = "You have no saved view with this id. GET /v1/saved-views lists your saved views."


class SavedViewExistsError(ConflictError):
    """The user already has a saved view of this list with this name."""

    code = "saved_view_exists"
    title = "Saved view exists"
    example = Example(
        "You already have a saved view of this list with this name. Choose another name, or change "
        "the view whose id is in `saved_view_id`.",
        saved_view_id=example_id("saved_view"),
    )


_DEFAULTS: dict[str, Any] = {
    "timezone": None,
    "language": Language.ENGLISH,
    "theme": Theme.SYSTEM,
    "notices": {},
}


async def read_preferences(uow: UnitOfWork, *, user_id: UUID) -> UserPreferences | None:
    """Return the preferences of a user; None if the user has never changed a preference."""
    return await uow.session.get(UserPreferences, user_id, populate_existing=True)


async def update_preferences(
    uow: UnitOfWork, changes: PreferencesUpdate, *, user_id: UUID, now: datetime
) -> UserPreferences | None:
    """Change preferences of a user.

    A field that is left out keeps its value. This is also true for each field of ``notices``.

    Returns:
        All preferences of the user. None if ``changes`` is empty and the user has never changed a
        preference.
    """
    values = changes.model_dump(exclude_unset=True)
    if "notices" in values:
        values["notices"] = changes.notices.model_dump(mode="json", exclude_unset=True)
    if not values:
        return await read_preferences(uow, user_id=user_id)
    values["updated_at"] = now
    adding = insert(UserPreferences).values(_DEFAULTS | values | {"user_id": user_id})
    if "notices" in values:
        values["notices"] = UserPreferences.notices.op("||")(adding.excluded.notices)
    statement = adding.on_conflict_do_update(index_elements=["user_id"], set_=values).returning(
        UserPreferences
    )
    stored = await uow.session.scalars(statement, execution_options={"populate_existing": True})
    return stored.one()


async def create_saved_view(
    uow: UnitOfWork, body: SavedViewCreate, *, user_id: UUID, now: datetime
) -> SavedView:
    """Store a saved view: a filter of a list, such as the list of contacts, with a name.

    Raises:
        SavedViewExistsError: The user already has a view of this list with this name.
    """
    values = {
        **body.model_dump(),
        "id": new_id(),
        "user_id": user_id,
        "created_at": now,
        "updated_at": now,
    }
    statement = (
        insert(SavedView)
        .values(values)
        .on_conflict_do_nothing(index_elements=["user_id", "list", "name"])
    )
    made: SavedView | None = await uow.session.scalar(statement.returning(SavedView))
    if made is None:
        raise await _exists(uow, user_id=user_id, viewed=body.list, name=body.name)
    return made


async def read_saved_view(uow: UnitOfWork, *, view_id: UUID, user_id: UUID) -> SavedView:
    """Return a saved view (a named filter of a list) of a user.

    Raises:
        SavedViewNotFoundError: The user has no view with this id.
    """
    statement = select(SavedView).where(SavedView.id == view_id, SavedView.user_id == user_id)
    found: SavedView | None = await uow.session.scalar(
        statement, execution_options={"populate_existing": True}
    )
    if found is None:
        raise SavedViewNotFoundError
    return found


async def list_saved_views(
    uow: UnitOfWork, *, user_id: UUID, viewed: ViewedList | None, cursor: str | None, limit: int
) -> Page[SavedView]:
    """Return a page of a user's saved views (named filters of lists), newest first.

    Args:
        viewed: Only views of this list, such as ``contacts``; None for the views of all lists.

    Raises:
        InvalidCursorError: The cursor is from another list or user, or was made with another value
            of ``viewed``.
    """
    statement = select(SavedView).where(SavedView.user_id == user_id)
    if viewed is not None:
        statement = statement.where(SavedView.list == viewed)
    cursors = Cursors("saved views", user_id=user_id, viewed=viewed)
    return await read_newest(
        uow.session,
        statement,
        SavedView.created_at,
        SavedView.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def update_saved_view(
    uow: UnitOfWork, changes: SavedViewUpdate, *, view_id: UUID, user_id: UUID, now: datetime
) -> SavedView:
    """Change the name or the filter of a saved view (a named filter of a list).

    Raises:
        SavedViewNotFoundError: The user has no view with this id.
        SavedViewExistsError: The user already has a view of this list with the new name.
    """
    view = await read_saved_view(uow, view_id=view_id, user_id=user_id)
    values = changes.model_dump(exclude_unset=True)
    if not values:
        return view
    viewed = ViewedList(view.list)
    statement = (
        update(SavedView)
        .where(SavedView.id == view_id, SavedView.user_id == user_id)
        .values({**values, "updated_at": now})
    )
    try:
        async with uow.session.begin_nested():
            await uow.session.execute(statement)
    except IntegrityError as error:
        raise await _exists(uow, user_id=user_id, viewed=viewed, name=changes.name) from error
    return await read_saved_view(uow, view_id=view_id, user_id=user_id)


async def delete_saved_view(uow: UnitOfWork, *, view_id: UUID, user_id: UUID) -> None:
    """Delete a saved view (a named filter of a list) of a user.

    Raises:
        SavedViewNotFoundError: The user has no view with this id.
    """
    statement = delete(SavedView).where(SavedView.id == view_id, SavedView.user_id == user_id)
    if await uow.session.scalar(statement.returning(SavedView.id)) is None:
        raise SavedViewNotFoundError


async def _exists(
    uow: UnitOfWork, *, user_id: UUID, viewed: ViewedList, name: str
) -> SavedViewExistsError:
    holder = await uow.session.scalar(
        select(SavedView.id).where(
            SavedView.user_id == user_id, SavedView.list == viewed, SavedView.name == name
        )
    )
    return SavedViewExistsError(
        "You already have a saved view of this list with this name. Choose another name, or change "
        "the view whose id is in `saved_view_id`.",
        saved_view_id=str(holder),
    )
