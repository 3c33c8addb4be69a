"""HTTP route that sets the class of a reply, such as ``question`` or ``interested``."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import REPLY, example_id
from crm_api.domain.messaging.conversations.reply_class_decisions import (
    ReplyClassWrite,
    decide_reply_class,
)
from crm_api.domain.messaging.conversations.schemas import MessageRead
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.schemas import names_files
from crm_api.routers.http.deps import Caller, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1", tags=["conversations"])
Sender = Annotated[Caller, require(Scope.MESSAGES_SEND)]


@router.put(
    "/messages/{message_id}/reply-class",
    openapi_extra=fails_with("message_not_received")
    | shows(
        direction="incoming",
        origin="provider",
        body=REPLY,
        status="received",
        attempts=[],
        reply_class={"value": "interested", "by": example_id("user")},
    ),
)
async def choose_reply_class(
    message_id: UUID, body: ReplyClassWrite, uow: Uow, state: State, caller: Sender
) -> MessageRead:
    """Choose the class of a reply, such as `question`. Your choice replaces the proposed class.

    No rule changes your choice later. Two classes have an effect on the sender's number:

    - `stop` opts the number out. It stays opted out if you change the class.
    - `wrong_number` sets the flag `invalid_number`, so that campaigns skip the number. A change of
      the class removes the flag.
    """
    async with uow:
        message = await decide_reply_class(
            uow,
            message_id=message_id,
            reply_class=body.reply_class,
            caller_id=caller.id,
            actor=caller.name,
            source=ConsentSource.API if caller.user is None else ConsentSource.USER,
            now=await uow.database_now(),
            secret=state.secret,
        )
        named = [message.id] if names_files(message.media, message.call) else []
        files = await media.read_shown_fetches(uow, activity_ids=named)
    return MessageRead.of(message, files.get(message.id, ()))
