"""Render a saved reply for one contact, and apply its effects.

Each effect is optional: the contact gets a tag, the conversation gets another state, and the
person's last message gets a reply class.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.templates.template_text import (
    ATTRIBUTES,
    CONTACT_FIELDS,
    compile_body,
    render_message,
)
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.kit.message_segments import segments
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.conversations.errors import UnknownLineError
from crm_api.domain.messaging.conversations.participants import as_phone
from crm_api.domain.messaging.conversations.reply_class_decisions import decide_reply_class
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.office.inbox.changes import update_conversation
from crm_api.domain.office.inbox.schemas import ConversationUpdate
from crm_api.domain.office.saved_replies.schemas import SavedReplyPreview, SavedReplyRead
from crm_api.domain.office.saved_replies.service import read_saved_reply
from crm_api.domain.people.contacts.service import get_contact
from crm_api.domain.people.tags.schemas import TagsRequest
from crm_api.domain.people.tags.tag_changes import change_tags
from crm_api.platform.database import UnitOfWork

# This selects the phone line of the contact's last conversation. If the contact has no
# conversation, it selects the first line.
USUAL_LINE = text("""
    SELECT l.id FROM line l
    LEFT JOIN LATERAL (
        SELECT c.last_activity_at FROM conversation c
        WHERE c.contact_id = :contact_id AND c.line_id = l.id
        ORDER BY c.last_activity_at DESC LIMIT 1
    ) talk ON true
    ORDER BY talk.last_activity_at DESC NULLS LAST, l.id LIMIT 1
""")


async def preview_saved_reply(
    uow: UnitOfWork,
    *,
    saved_reply_id: UUID,
    contact_id: UUID,
    line_id: UUID | None,
    business: Business,
    now: datetime,
) -> SavedReplyPreview:
    """Render a saved reply for a contact.

    Args:
        line_id: The sending line. None: the line of the contact's last conversation.

    Raises:
        SavedReplyNotFoundError: No saved reply has this id.
        ContactNotFoundError: The contact does not exist or was deleted.
        UnknownLineError: No line has this id.
        MissingValueError: The contact lacks a needed value.
        TextFailedError: The message cannot be rendered, or is too long.
    """
    saved = await read_saved_reply(uow, saved_reply_id=saved_reply_id)
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    line = await _find_line(uow, line_id=line_id, contact_id=contact_id)
    values: dict[str, object] = {
        name: getattr(contact, name) for name in (*CONTACT_FIELDS, ATTRIBUTES)
    }
    if line is not None:
        values["line"] = {"name": line.name, "number": line.number}
        business = Business(
            name=business.name or line.name, contact=business.contact or line.number
        )
    values["business"] = {"name": business.name, "contact": business.contact}
    body = render_message(compile_body(saved.body), values, footer=None)
    encoding, count = segments(body)
    shown = SavedReplyRead.of(saved)
    return SavedReplyPreview(body=body, encoding=encoding, segments=count, then=shown.then)


async def _find_line(uow: UnitOfWork, *, line_id: UUID | None, contact_id: UUID) -> Line | None:
    if line_id is None:
        line_id = await uow.session.scalar(USUAL_LINE, {"contact_id": contact_id})
        return None if line_id is None else await uow.session.get(Line, line_id)
    line = await uow.session.get(Line, line_id)
    if line is None:
        raise UnknownLineError
    return line


@dataclass(frozen=True, kw_only=True)
class AppliedEffects:
    """The effects of a saved reply; ``schemas.SavedReplyUsed`` explains the fields."""

    tag: str | None
    message: Activity | None
    state: str | None


async def apply_saved_reply(
    uow: UnitOfWork,
    *,
    conversation_id: UUID,
    saved_reply_id: UUID,
    caller_id: str,
    actor: str,
    source: ConsentSource,
    now: datetime,
    secret: bytes,
) -> AppliedEffects:
    """Apply the effects of a saved reply to a conversation, all in this transaction.

    The client sends the message itself, with ``POST /v1/messages``. If the effects are applied
    twice, the result is the same.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        SavedReplyNotFoundError: No saved reply has this id.
    """
    conversation = await get_conversation(uow, conversation_id=conversation_id)
    following = (await read_saved_reply(uow, saved_reply_id=saved_reply_id)).following
    # The locks must be taken in this order, so that two transactions cannot deadlock: contacts,
    # decisions about numbers, conversations, attempts. The reply class `stop` withdraws attempts,
    # so it is set last.
    tag = following.get("tag")
    if tag is not None:
        is_tagged = await _add_tag(
            uow, tag, contact_id=conversation.contact_id, actor=actor, now=now
        )
        tag = tag if is_tagged else None
    reply_class = following.get("reply_class")
    if reply_class is not None and as_phone(conversation.phone) is not None:
        await consent.lock_people(uow, phones=[conversation.phone])
    state = following.get("state")
    if state is not None:
        changes = ConversationUpdate(state=ConversationState(state))
        await update_conversation(
            uow, changes, conversation_id=conversation_id, user_id=None, now=now
        )
    message = None
    message_id = await find_last_received(uow, conversation_id=conversation_id)
    if reply_class is not None and message_id is not None:
        message = await decide_reply_class(
            uow,
            message_id=message_id,
            reply_class=ReplyClass(reply_class),
            caller_id=caller_id,
            actor=actor,
            source=source,
            now=now,
            secret=secret,
        )
    return AppliedEffects(tag=tag, message=message, state=state)


async def _add_tag(
    uow: UnitOfWork, tag: str, *, contact_id: UUID | None, actor: str, now: datetime
) -> bool:
    if contact_id is None:
        return False
    wanted = TagsRequest(add=[tag], contact_ids=[contact_id])
    return (await change_tags(uow, wanted, actor=actor, now=now)).refused == 0


LAST_RECEIVED = text("""
    SELECT a.id FROM activity a
    WHERE a.conversation_id = :conversation_id AND a.kind = 'message' AND a.direction = 'incoming'
    ORDER BY a.occurred_at DESC, a.id DESC LIMIT 1
""")


async def find_last_received(uow: UnitOfWork, *, conversation_id: UUID) -> UUID | None:
    """Return the id of the last message that the person sent; None if the person sent none."""
    found: UUID | None = await uow.session.scalar(
        LAST_RECEIVED, {"conversation_id": conversation_id}
    )
    return found
