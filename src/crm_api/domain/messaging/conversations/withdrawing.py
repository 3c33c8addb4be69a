"""Withdraw a message that a user wrote, while it waits to be sent."""

from datetime import datetime
from uuid import UUID

from crm_api.domain.messaging.conversations.errors import MessageLeftError, MessageNotManualError
from crm_api.domain.messaging.conversations.service import get_message
from crm_api.domain.messaging.models.timeline import Activity, MessageStatus, Origin
from crm_api.domain.messaging.sends import withdraw
from crm_api.platform.database import UnitOfWork


async def withdraw_user_message(uow: UnitOfWork, message_id: UUID, *, now: datetime) -> None:
    """Withdraw a message that a user wrote, so that it is never sent.

    If the message was already withdrawn, nothing changes.

    Raises:
        MessageNotFoundError: No message has this id.
        MessageNotManualError: The message was not written by a user of this API.
        MessageLeftError: The message was sent, failed or is being sent.
    """
    if await withdraw.withdraw_message(uow, message_id=message_id, now=now):
        return
    message = await get_message(uow, message_id)
    if message.origin != Origin.MANUAL:
        raise MessageNotManualError
    if message.error_code != withdraw.WITHDRAWN:
        raise MessageLeftError(_why(message))


def _why(message: Activity) -> str:
    if message.status == MessageStatus.FAILED:
        return (
            "The message does not wait any more, because it has failed. GET /v1/messages/{id} "
            "gives the reason as `error_code`."
        )
    return (
        "The message cannot be withdrawn, because it is being sent or was sent. Write the person "
        "another message if something has to be corrected."
    )
