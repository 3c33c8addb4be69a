"""The messages of a conversation as CSV."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.activity import export_queries, queries
from crm_api.domain.activity.errors import ConversationNotFoundError
from crm_api.domain.exports.copying import write_csv

Position = tuple[datetime, UUID]


async def messages_csv(
    new_uow: UnitOfWorkFactory, *, conversation_id: UUID
) -> AsyncIterator[bytes]:
    """Write a conversation's messages, newest first.

    Raises:
        ConversationNotFoundError: There is no such conversation.
    """
    async with new_uow() as uow:
        if await queries.get_conversation(uow.session, conversation_id) is None:
            raise ConversationNotFoundError("There is no conversation with this id.")

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        return await export_queries.copy_messages(
            uow.session, conversation_id=conversation_id, after=after
        )

    return write_csv(new_uow, header=export_queries.HEADER, next_page=next_page)
