"""Render a saved reply for one contact, as it would be sent from a phone line."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.templates.template_text import (
    ATTRIBUTES,
    CONTACT_FIELDS,
    compile_body,
    render_message,
)
from crm_api.domain.kit.message_segments import segments
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.conversations.errors import UnknownLineError
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.office.saved_replies.schemas import SavedReplyPreview, SavedReplyRead
from crm_api.domain.office.saved_replies.service import read_saved_reply
from crm_api.domain.people.contacts.service import get_contact
from crm_api.platform.database import UnitOfWork

# The phone line of the person's last conversation; without a conversation, the first line.
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
        uow: The unit of work.
        saved_reply_id: The saved reply.
        contact_id: The contact.
        line_id: The phone line that would send the message; None: the line of the contact's last
            conversation.
        business: The details of the company that a message may contain.
        now: The present instant.

    Raises:
        SavedReplyNotFoundError: No saved reply has this id.
        ContactNotFoundError: The contact does not exist or was deleted.
        UnknownLineError: No phone line has this id.
        MissingValueError: The contact lacks a value that the body needs.
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
        raise UnknownLineError("No line has this id. GET /v1/lines lists the lines.")
    return line
