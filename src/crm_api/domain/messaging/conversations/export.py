"""Export all messages of a conversation as CSV."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.csv_export import (
    cell,
    copy_rows,
    end_of_page,
    instant,
    row_id,
    write_csv,
)
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.domain.messaging.models.timeline import Activity, ActivityKind
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

Position = tuple[datetime, UUID]

COLUMNS: dict[str, SQLColumnExpression[Any]] = {
    "id": row_id(Activity.id),
    "conversation_id": row_id(Activity.conversation_id),
    "line_id": row_id(Activity.line_id),
    "contact_id": row_id(Activity.contact_id),
    "campaign_id": row_id(Activity.campaign_id),
    "direction": Activity.direction,
    "origin": Activity.origin,
    "phone": Activity.phone,
    "body": cell(Activity.body),
    "status": Activity.status,
    "error_code": cell(Activity.error_code),
    "provider_message_id": cell(Activity.openphone_id),
    "occurred_at": instant(Activity.occurred_at),
    "created_at": instant(Activity.created_at),
    "reply_class": Activity.reply_class,
    "reply_class_by": Activity.reply_class_by,
}
HEADER = tuple(COLUMNS)


async def export_messages(
    new_uow: UnitOfWorkFactory, *, conversation_id: UUID
) -> AsyncIterator[bytes]:
    """Return an iterator over the parts of a CSV file with all messages of a conversation.

    The newest message comes first. The iterator reads the database page by page.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    async with new_uow() as uow:
        await get_conversation(uow, conversation_id=conversation_id)

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        return await _copy_messages(uow.session, conversation_id=conversation_id, after=after)

    return write_csv(new_uow, header=HEADER, next_page=next_page)


async def _copy_messages(
    session: AsyncSession, *, conversation_id: UUID, after: Position | None
) -> tuple[bytes, Position | None]:
    """Return a page of messages as CSV lines, newest first, and the position where the page ends.

    The position is that of the last message in the page; the next page starts after this message.
    The position is None if this is the last page.
    """
    position = tuple_(Activity.occurred_at, Activity.id)
    wanted = [
        Activity.conversation_id == conversation_id,
        Activity.kind == ActivityKind.MESSAGE.value,
        *([] if after is None else [position < after]),
    ]
    order = (Activity.occurred_at.desc(), Activity.id.desc())
    last = await end_of_page(
        session, select(Activity.occurred_at, Activity.id).where(*wanted).order_by(*order)
    )
    end = None if last is None else (last[0], last[1])
    rows = select(*COLUMNS.values()).where(*wanted).order_by(*order)
    return await copy_rows(session, rows if end is None else rows.where(position >= end)), end
