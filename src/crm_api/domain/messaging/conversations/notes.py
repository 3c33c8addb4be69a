"""Store and list the internal notes of conversations. A note is never sent."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.conversations.errors import UnknownMentionError
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.domain.messaging.models.conversations import ConversationNote
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


@dataclass(frozen=True, kw_only=True)
class FoundNote:
    """A note, and the names of the users whom the note mentions, by user id."""

    note: ConversationNote
    names: dict[UUID, str]


async def add_note(
    uow: UnitOfWork,
    *,
    conversation_id: UUID,
    body: str,
    mentions: Sequence[UUID],
    author: str,
    now: datetime,
) -> FoundNote:
    """Add a note to a conversation.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        UnknownMentionError: A mentioned id is not the id of an active user.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    mentioned = list(dict.fromkeys(mentions))
    active = set(
        await uow.session.scalars(
            select(User.id).where(User.id.in_(mentioned), User.status == UserStatus.ACTIVE)
        )
    )
    if unknown := [place for place, one in enumerate(mentions) if one not in active]:
        raise UnknownMentionError(unknown)
    values = {
        "id": new_id(),
        "conversation_id": conversation_id,
        "author": author,
        "body": body,
        "mentions": mentioned,
        "created_at": now,
    }
    note = (
        await uow.session.scalars(
            insert(ConversationNote).values(values).returning(ConversationNote)
        )
    ).one()
    return FoundNote(note=note, names=await _names(uow, mentioned))


def notes_statement(
    *, conversation_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Select[ConversationNote]:
    """Return the statement that reads one page of a conversation's notes, newest first."""
    statement = select(ConversationNote).where(ConversationNote.conversation_id == conversation_id)
    if after is not None:
        statement = statement.where(
            tuple_(ConversationNote.created_at, ConversationNote.id) < after
        )
    return statement.order_by(ConversationNote.created_at.desc(), ConversationNote.id.desc()).limit(
        limit
    )


async def list_notes(
    uow: UnitOfWork, *, conversation_id: UUID, cursor: str | None, limit: int
) -> Page[FoundNote]:
    """Return a page of the notes of a conversation, newest first.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        InvalidCursorError: The cursor does not belong to this list.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    cursors = Cursors("conversation notes", conversation_id=conversation_id)
    statement = notes_statement(
        conversation_id=conversation_id, after=cursors.read(cursor), limit=limit + 1
    )
    rows = (await uow.session.scalars(statement)).all()
    names = await _names(uow, {user_id for row in rows for user_id in row.mentions})
    found = [FoundNote(note=row, names=names) for row in rows]
    return cursors.page(found, limit=limit, position=lambda one: (one.note.created_at, one.note.id))


async def _names(uow: UnitOfWork, user_ids: Collection[UUID]) -> dict[UUID, str]:
    if not user_ids:
        return {}
    statement = select(User.id, User.name).where(User.id.in_(user_ids))
    return {row.id: row.name for row in await uow.session.execute(statement)}
