"""The samples of ``POST /webhooks/{id}/events/test``: one for each type of event."""

from datetime import datetime
from typing import Any

from crm_api.sandbox.calls import read_call
from crm_api.sandbox.config import OwnLine
from crm_api.sandbox.events import SandboxEvent, dated_envelope, message_event
from crm_api.sandbox.shapes import ORGANISATION, OWNER, stamp
from crm_api.sandbox.store import StoredMessage

SAMPLE_ID = "EVsample"
"""All samples share one event id."""
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
"""What a webhook of 2026-03-30 can ask for."""


def sample(kind: str, line: OwnLine, *, at: datetime) -> SandboxEvent:
    """Make the sample of a type; nothing of it happened."""
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
    told = {event.type: event for event in read_call(body, line, at=at).events()}
    event = told.get(kind) or told["call.ringing"]
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
