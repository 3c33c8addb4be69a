"""Store and list the internal notes of conversations. A note is never sent."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.paging import Cursors, Page, read_newest
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
    if unknown := [index for index, one in enumerate(mentions) if one not in active]:
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


async def list_notes(
    uow: UnitOfWork, *, conversation_id: UUID, cursor: str | None, limit: int
) -> Page[FoundNote]:
    """Return a page of the notes of a conversation, newest first.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        InvalidCursorError: The cursor does not belong to this list.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    page = await read_newest(
        uow.session,
        select(ConversationNote).where(ConversationNote.conversation_id == conversation_id),
        ConversationNote.created_at,
        ConversationNote.id,
        cursors=Cursors("conversation notes", conversation_id=conversation_id),
        cursor=cursor,
        limit=limit,
    )
    names = await _names(uow, {user_id for note in page.data for user_id in note.mentions})
    return Page([FoundNote(note=note, names=names) for note in page.data], page.next_cursor)


async def _names(uow: UnitOfWork, user_ids: Collection[UUID]) -> dict[UUID, str]:
    if not user_ids:
        return {}
    statement = select(User.id, User.name).where(User.id.in_(user_ids))
    return {row.id: row.name for row in await uow.session.execute(statement)}
