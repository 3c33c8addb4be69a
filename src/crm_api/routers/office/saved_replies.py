"""HTTP routes for saved replies."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.conversations.schemas import MessageRead
from crm_api.domain.office.saved_replies import service as saved_replies
from crm_api.domain.office.saved_replies.applying import apply_saved_reply, preview_saved_reply
from crm_api.domain.office.saved_replies.schemas import (
    SavedReplyCreate,
    SavedReplyPreview,
    SavedReplyRead,
    SavedReplyUpdate,
    SavedReplyUse,
    SavedReplyUsed,
)
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, State, Uow, business_of, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["conversations"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Sender = Annotated[Caller, require(Scope.MESSAGES_SEND)]
ContactReader = Annotated[Caller, require(Scope.CONTACTS_READ)]


@router.post(
    "/saved-replies",
    status_code=201,
    openapi_extra=fails_with("invalid_template", "saved_reply_exists"),
)
async def create_saved_reply(body: SavedReplyCreate, uow: Uow, _caller: Sender) -> SavedReplyRead:
    """Create a saved reply: a message that users often send, with effects on the conversation."""
    async with uow:
        made = await saved_replies.create_saved_reply(uow, body, now=clock.now())
    return SavedReplyRead.of(made)


@router.get(
    "/saved-replies",
    response_model=PageRead[SavedReplyRead],
    responses=csv_list_of(SavedReplyRead),
)
async def list_saved_replies(
    listed: Listed, _caller: Reader
) -> PageRead[SavedReplyRead] | Response:
    """List the saved replies, newest first. A CSV response contains all saved replies."""

    async def read_page(
        uow: UnitOfWork, cursor: str | None, limit: int
    ) -> PageRead[SavedReplyRead]:
        found = await saved_replies.list_saved_replies(uow, cursor=cursor, limit=limit)
        return PageRead.of(found, SavedReplyRead.of)

    return await listed.respond(SavedReplyRead, read_page, name="saved-replies")


@router.get("/saved-replies/{saved_reply_id}")
async def get_saved_reply(saved_reply_id: UUID, uow: Uow, _caller: Reader) -> SavedReplyRead:
    """Return one saved reply."""
    async with uow:
        found = await saved_replies.read_saved_reply(uow, saved_reply_id=saved_reply_id)
    return SavedReplyRead.of(found)


@router.patch(
    "/saved-replies/{saved_reply_id}",
    openapi_extra=fails_with("invalid_template", "saved_reply_exists"),
)
async def update_saved_reply(
    saved_reply_id: UUID, body: SavedReplyUpdate, uow: Uow, _caller: Sender
) -> SavedReplyRead:
    """Change the name, the body or the effects of a saved reply."""
    async with uow:
        found = await saved_replies.update_saved_reply(
            uow, body, saved_reply_id=saved_reply_id, now=clock.now()
        )
    return SavedReplyRead.of(found)


@router.delete("/saved-replies/{saved_reply_id}", status_code=204)
async def delete_saved_reply(saved_reply_id: UUID, uow: Uow, _caller: Sender) -> None:
    """Delete a saved reply."""
    async with uow:
        await saved_replies.delete_saved_reply(uow, saved_reply_id=saved_reply_id)


@router.get(
    "/saved-replies/{saved_reply_id}/preview",
    openapi_extra=fails_with(
        "contact_not_found",
        "missing_value",
        "saved_reply_not_found",
        "text_failed",
        "unknown_line",
    ),
)
async def preview_saved_reply_for_contact(
    saved_reply_id: UUID,
    uow: Uow,
    state: State,
    _caller: ContactReader,
    *,
    contact_id: Annotated[
        UUID, Query(description="The contact whose values are inserted into the message.")
    ],
    line_id: Annotated[
        UUID | None,
        Query(
            description="The phone line that would send the message. The default is the line of "
            "the contact's last conversation."
        ),
    ] = None,
) -> SavedReplyPreview:
    """Return the message of a saved reply, with the values of a contact inserted.

    To send the message, use `POST /v1/messages`. The preview needs the scope contacts:read,
    because the message contains values of the contact.
    """
    async with uow:
        return await preview_saved_reply(
            uow,
            saved_reply_id=saved_reply_id,
            contact_id=contact_id,
            line_id=line_id,
            business=await business_of(uow, state),
            now=clock.now(),
        )


@router.post(
    "/conversations/{conversation_id}/apply-saved-reply",
    openapi_extra=fails_with("conversation_not_found", "saved_reply_not_found"),
)
async def use_saved_reply(
    conversation_id: UUID, body: SavedReplyUse, uow: Uow, state: State, caller: Sender
) -> SavedReplyUsed:
    """Apply all effects of a saved reply to a conversation. This sends no message.

    The effects are set in the field `then` of the saved reply: a tag for the contact, a state for
    the conversation, and a reply class for the last message of the person. If one effect fails, no
    effect is applied.
    """
    async with uow:
        done = await apply_saved_reply(
            uow,
            conversation_id=conversation_id,
            saved_reply_id=body.saved_reply_id,
            caller_id=caller.id,
            actor=caller.name,
            source=ConsentSource.API if caller.user is None else ConsentSource.USER,
            now=await uow.database_now(),
            secret=state.secret,
        )
    message = None if done.message is None else MessageRead.of(done.message)
    return SavedReplyUsed(tag=done.tag, message=message, state=done.state)
