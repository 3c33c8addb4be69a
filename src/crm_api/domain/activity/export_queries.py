"""SQL that writes messages as CSV."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.activity.models import Activity, ActivityKind
from crm_api.domain.exports.copying import cell, copy_rows, end_of_page, instant, row_id

Position = tuple[datetime, UUID]

_COLUMNS: dict[str, SQLColumnExpression[Any]] = {
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
}
HEADER = tuple(_COLUMNS)


async def copy_messages(
    session: AsyncSession, *, conversation_id: UUID, after: Position | None
) -> tuple[bytes, Position | None]:
    """Write the next messages of a conversation, newest first, and say where they end."""
    place = tuple_(Activity.occurred_at, Activity.id)
    wanted = [
        Activity.conversation_id == conversation_id,
        Activity.kind == ActivityKind.MESSAGE.value,
        *([] if after is None else [place < after]),
    ]
    order = (Activity.occurred_at.desc(), Activity.id.desc())
    last = await end_of_page(
        session, select(Activity.occurred_at, Activity.id).where(*wanted).order_by(*order)
    )
    end = None if last is None else (last[0], last[1])
    rows = select(*_COLUMNS.values()).where(*wanted).order_by(*order)
    return await copy_rows(session, rows if end is None else rows.where(place >= end)), end
