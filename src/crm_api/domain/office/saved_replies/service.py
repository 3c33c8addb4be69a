"""Create, read, change and delete saved replies. Bodies are checked before they are stored."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from crm_api.domain.campaigns.errors import InvalidTemplateError
from crm_api.domain.campaigns.templates.template_text import find_template_faults
from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example_id
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.office.saved_replies.models import SavedReply
from crm_api.domain.office.saved_replies.schemas import (
    SavedReplyCreate,
    SavedReplyEffects,
    SavedReplyUpdate,
)
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id


class SavedReplyNotFoundError(NotFoundError):
    """No saved reply has this id."""

    code = "saved_reply_not_found"
    title = "Saved reply not found"
    detail = "No saved reply has this id. GET /v1/saved-replies lists them."


class SavedReplyExistsError(ConflictError):
    """Another saved reply has this name. ``saved_reply_id`` is the id of that saved reply."""

    code = "saved_reply_exists"
    title = "Saved reply already exists"
    example = Example(example_id("saved_reply"))

    def __init__(self, saved_reply_id: str) -> None:
        super().__init__(
            "Another saved reply already has this name. Choose another name, or change the saved "
            "reply whose id is in `saved_reply_id`.",
            saved_reply_id=saved_reply_id,
        )


async def create_saved_reply(
    uow: UnitOfWork, body: SavedReplyCreate, *, now: datetime
) -> SavedReply:
    """Store a new saved reply.

    Raises:
        InvalidTemplateError: The body has faults.
        SavedReplyExistsError: Another saved reply has this name.
    """
    _refuse_faults(body.body)
    values = {
        "id": new_id(),
        "name": body.name,
        "body": body.body,
        "following": _stored(body.then),
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(SavedReply).values(values).on_conflict_do_nothing(index_elements=["name"])
    made: SavedReply | None = await uow.session.scalar(statement.returning(SavedReply))
    if made is None:
        raise await _name_taken(uow, body.name)
    return made


async def read_saved_reply(uow: UnitOfWork, *, saved_reply_id: UUID) -> SavedReply:
    """Return the saved reply with this id.

    Raises:
        SavedReplyNotFoundError: No saved reply has this id.
    """
    return await get_or_raise(uow.session, SavedReply, saved_reply_id, SavedReplyNotFoundError)


async def list_saved_replies(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[SavedReply]:
    """Return a page of saved replies, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    rows, cursors = select(SavedReply), Cursors("saved replies")
    return await read_newest(
        uow.session,
        rows,
        SavedReply.created_at,
        SavedReply.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def update_saved_reply(
    uow: UnitOfWork, changes: SavedReplyUpdate, *, saved_reply_id: UUID, now: datetime
) -> SavedReply:
    """Change a saved reply.

    Raises:
        SavedReplyNotFoundError: No saved reply has this id.
        InvalidTemplateError: The body has faults.
        SavedReplyExistsError: Another saved reply has the new name.
    """
    given: dict[str, Any] = changes.model_dump(exclude_unset=True, exclude={"then"})
    if "body" in given:
        _refuse_faults(changes.body)
    if "then" in changes.model_fields_set:
        given["following"] = _stored(changes.then)
    if not given:
        return await read_saved_reply(uow, saved_reply_id=saved_reply_id)
    statement = (
        update(SavedReply)
        .where(SavedReply.id == saved_reply_id)
        .values({**given, "updated_at": now})
        .returning(SavedReply)
    )
    try:
        async with uow.session.begin_nested():
            changed: SavedReply | None = await uow.session.scalar(
                statement, execution_options={"populate_existing": True}
            )
    except IntegrityError as error:
        raise await _name_taken(uow, changes.name) from error
    if changed is None:
        raise SavedReplyNotFoundError
    return changed


async def delete_saved_reply(uow: UnitOfWork, *, saved_reply_id: UUID) -> None:
    """Delete a saved reply.

    Raises:
        SavedReplyNotFoundError: No saved reply has this id.
    """
    statement = delete(SavedReply).where(SavedReply.id == saved_reply_id)
    if await uow.session.scalar(statement.returning(SavedReply.id)) is None:
        raise SavedReplyNotFoundError


def _stored(then: SavedReplyEffects) -> dict[str, Any]:
    return then.model_dump(mode="json", exclude_none=True)


def _refuse_faults(body: str) -> None:
    problems = find_template_faults(body, pointer="/body")
    if problems:
        raise InvalidTemplateError(problems)


async def _name_taken(uow: UnitOfWork, name: str) -> SavedReplyExistsError:
    holder = await uow.session.scalar(select(SavedReply.id).where(SavedReply.name == name))
    return SavedReplyExistsError(str(holder))
