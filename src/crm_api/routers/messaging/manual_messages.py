"""HTTP routes that send single messages to people, and that withdraw them."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.users.service import read_user
from crm_api.domain.messaging.conversations import drafts, user_messages
from crm_api.domain.messaging.conversations.schemas import MessageRead, ReplyCreate
from crm_api.domain.messaging.conversations.user_messages import withdraw_user_message
from crm_api.domain.messaging.media.service import read_shown_fetches
from crm_api.domain.messaging.sends.queue import Sender
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.deps import Caller, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1", tags=["conversations"])
MaySend = Annotated[Caller, require(Scope.MESSAGES_SEND)]


async def _sender(uow: UnitOfWork, caller: Caller) -> Sender:
    """Return the caller as the sender of a message.

    For a user, the sender has the user's name and not the e-mail address.
    """
    if caller.user is None:
        return Sender(id=UUID(caller.id), name=caller.name)
    user = await read_user(uow, user_id=caller.user.id)
    return Sender(id=user.id, name=user.name)


@router.post(
    "/messages",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with(
        "answered_meanwhile",
        "line_blocked",
        "media_not_supported",
        "outside_window",
        "recipient_do_not_contact",
        "recipient_opted_out",
        "send_at_out_of_range",
        "send_at_outside_window",
        "unknown_media",
        "unknown_line",
    )
    | shows(
        origin="manual",
        campaign_id=None,
        body="See you on Tuesday at four.",
        status="queued",
        provider_message_id=None,
        send_at=None,
        media=[],
        attempts=[],
    ),
)
async def send_message(body: ReplyCreate, uow: Uow, state: State, caller: MaySend) -> MessageRead:
    """Send a single message to a phone number, immediately or later.

    The message is usually sent within seconds after `send_at`. Without `send_at`, it waits
    `undo_seconds`. Read the message again to see its `status`. If the person opts out before
    `send_at`, the message is withdrawn: `status` is `failed`, and `error_code` gives the reason.

    The request is refused if somebody else answered the person less than a minute ago, in this
    service or in the provider's app. If `confirm` is true, the message is sent anyway.
    """
    async with uow:
        message = await user_messages.queue_user_message(
            uow,
            body,
            sender=await _sender(uow, caller),
            may_read=caller.may(Scope.MESSAGES_READ),
            may_send_media=state.settings.sends_media,
            rules=state.rules,
            now=await uow.database_now(),
            secret=state.secret,
        )
        await drafts.delete_sent_draft(
            uow, line_id=body.line_id, phone=body.to, caller_id=caller.id
        )
        files = await read_shown_fetches(uow, activity_ids=[message.id] if message.media else [])
    return MessageRead.of(message, files.get(message.id, ()))


@router.delete(
    "/messages/{message_id}",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=fails_with("message_left", "message_not_manual"),
)
async def withdraw_message(message_id: UUID, uow: Uow, _caller: MaySend) -> None:
    """Withdraw a message that a user wrote, while it waits to be sent.

    The message is never sent. It stays in the conversation with the `status` `failed` and the
    `error_code` `withdrawn`.
    """
    async with uow:
        await withdraw_user_message(uow, message_id, now=await uow.database_now())
