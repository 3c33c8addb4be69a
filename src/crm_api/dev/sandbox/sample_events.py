"""The sample events that ``POST /webhooks/{id}/events/test`` sends, one for each event type."""

from datetime import datetime
from typing import Any

from crm_api.dev.sandbox.calls import read_call
from crm_api.dev.sandbox.config import OwnLine
from crm_api.dev.sandbox.events import SandboxEvent, dated_envelope, message_event
from crm_api.dev.sandbox.message_store import StoredMessage
from crm_api.dev.sandbox.wire_format import ORGANISATION, OWNER, stamp

SAMPLE_ID = "EVsample"
"""The id of every sample event."""
_PERSON = "+15555550100"
MESSAGES = ("message.received", "message.delivered", "message.failed", "message.undelivered")
CALLS = (
    "call.ringing",
    "call.answered",
    "call.completed",
    "call.missed",
    "call.forwarded",
    "call.menu.selected",
    "call.recording.completed",
    "call.transcript.completed",
    "call.summary.completed",
    "call.voicemail.completed",
)
CONTACTS = ("contact.updated", "contact.deleted")
TASKS = tuple(
    f"task.{name}"
    for name in (
        "created",
        "updated",
        "deleted",
        "completed",
        "reopened",
        "assigned",
        "unassigned",
        "overdue",
        "linked",
        "unlinked",
        "duedate.updated",
        "duedate.removed",
    )
)
INTEGRATIONS = ("integration.created", "integration.updated", "integration.deleted")
EVENT_TYPES = frozenset((*MESSAGES, *CALLS, *CONTACTS, *TASKS, *INTEGRATIONS))
"""The event types to which a webhook of API version 2026-03-30 can subscribe."""


def sample_event(kind: str, line: OwnLine, *, at: datetime) -> SandboxEvent:
    """Return the sample event of a type; the message, call or contact in it does not exist."""
    if kind in MESSAGES:
        event = message_event(kind, _message(kind, line, at), at=at)
    elif kind in CALLS:
        event = _call(kind, line, at)
    else:
        event = _plain(kind, line, at)
    event.dated["id"] = SAMPLE_ID
    return event


def _message(kind: str, line: OwnLine, at: datetime) -> StoredMessage:
    is_incoming = kind == "message.received"
    return StoredMessage(
        seq=0,
        id="ACsample",
        direction="incoming" if is_incoming else "outgoing",
        sender=_PERSON if is_incoming else line.number,
        to=(line.number if is_incoming else _PERSON,),
        text="Hello, this is a sample.",
        phone_number_id="PNsample",
        user_id=OWNER,
        status=kind.removeprefix("message."),
        created_at=at,
        updated_at=at,
        media=(),
    )


def _call(kind: str, line: OwnLine, at: datetime) -> SandboxEvent:
    extras = ["recording", "voicemail", "summary", "transcript"]
    body: dict[str, Any] = {"person": _PERSON, "answered": kind != "call.missed", "with": extras}
    events = {event.type: event for event in read_call(body, line, at=at).events()}
    event = events.get(kind) or events["call.ringing"]
    event.dated["type"] = kind
    return SandboxEvent(type=kind, phone_number_id=line.id, dated=event.dated, legacy=event.legacy)


def _plain(kind: str, line: OwnLine, at: datetime) -> SandboxEvent:
    resource: dict[str, Any] = {"id": "TKsample"}
    context: dict[str, Any] = {"orgId": ORGANISATION, "actorId": OWNER}
    if kind in CONTACTS:
        resource = {
            "id": "CTsample",
            "firstName": "Ada",
            "lastName": None,
            "company": None,
            "role": None,
            "location": None,
            "source": None,
            "externalId": None,
            "emails": [],
            "phoneNumbers": [{"value": _PERSON, "type": "phone-number"}],
            "customFields": [],
            "createdAt": stamp(at),
            "updatedAt": stamp(at),
        }
        context = {"orgId": ORGANISATION, "userId": OWNER, "sharedWithIds": []}
    link = "https://my.quo.com/inbox"
    return SandboxEvent(
        type=kind,
        phone_number_id=line.id,
        dated=dated_envelope(SAMPLE_ID, kind, at, resource=resource, context=context, link=link),
        legacy=None,
    )
