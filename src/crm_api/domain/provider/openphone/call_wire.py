"""Parse calls from the provider's events.

Own numbers belong to our lines; external numbers belong to the other parties. The versions of
events have these fields:

- 2026-03-30: the call is ``data.resource``. ``data.context.participants`` has the fields
  ``external`` and ``workspace`` (own numbers).
- Legacy v4: the call is ``data.object``. Its list ``participants`` is ``[external, own]`` if the
  call is incoming, and ``[own, external]`` if it is outgoing. The list may be empty.
- Legacy v3: the call has the fields ``from``, ``to``, ``media`` (recordings) and ``voicemail``.
"""

import re
from dataclasses import replace
from typing import Any

from crm_api.domain.provider.openphone.errors import UnreadableEventError
from crm_api.domain.provider.openphone.facts import (
    CallFacts,
    DialogueLine,
    EventKind,
    RecordingFacts,
    VoicemailFacts,
)
from crm_api.domain.provider.openphone.json_values import (
    Json,
    first_identity,
    first_text,
    flag,
    identifier,
    identifiers,
    instant,
    items,
    mapping,
    number,
    text,
    texts,
)

UNANSWERED = frozenset({"no-answer", "missed", "unanswered", "abandoned"})
_LINK = re.compile(r"/inbox/(?P<line>PN[^/?#]+)(?:/c/(?P<conversation>CN[^/?#]+))?")
_BOTH = 2


class EventContext:
    """The ids of the phone line, conversation and user that an event names.

    Each id is read from the first of these parts that contains it:

    1. The message or call (``content``).
    2. The field ``context``.
    3. The link to the provider's app, which contains no user id.
    """

    def __init__(self, content: Json, envelope_data: Json) -> None:
        context = mapping(envelope_data.get("context"))
        link = _LINK.search(
            first_text(
                envelope_data.get("deepLink"), mapping(envelope_data.get("links")).get("quo")
            )
            or ""
        )
        self.context = context
        self.phone_number_id = first_identity(
            content.get("phoneNumberId"),
            context.get("phoneNumberId"),
            link["line"] if link else None,
        )
        self.conversation_id = first_identity(
            content.get("conversationId"),
            context.get("conversationId"),
            link["conversation"] if link else None,
        )
        self.user_id = first_identity(content.get("userId"), context.get("userId"))


def parse_call(content: Json, data: Json, *, kind: EventKind, event_type: str) -> CallFacts:
    """Parse the call in an event; a value that the event lacks stays None or empty.

    Raises:
        UnreadableEventError: The event has no call id.
    """
    call_id = first_identity(content.get("callId"), content.get("id"))
    if call_id is None:
        raise UnreadableEventError("The event has no call id.")
    event_context = EventContext(content, data)
    direction = text(content.get("direction"))
    if direction is None and event_type == "call.missed":
        direction = "incoming"
    external, own = _parties(content, event_context.context, direction)
    facts = CallFacts(
        provider_call_id=call_id,
        direction=direction,
        external=external,
        own=own,
        phone_number_id=event_context.phone_number_id,
        conversation_id=event_context.conversation_id,
        user_id=event_context.user_id,
    )
    if kind is EventKind.CALL_SUMMARY:
        return replace(facts, **_summary(content))
    if kind is EventKind.CALL_TRANSCRIPT:
        return replace(facts, **_transcript(content))
    if kind is EventKind.CALL_VOICEMAIL:
        return replace(facts, has_voicemail=True, voicemail=_voicemail_event(content))
    return replace(facts, **_course(content, direction, event_type))


def _course(content: Json, direction: str | None, event_type: str) -> dict[str, Any]:
    status = text(content.get("status"))
    voicemail = _voicemail(mapping(content.get("voicemail")))
    is_left = voicemail is not None and instant(content.get("answeredAt")) is None
    is_unanswered = direction == "incoming" and (status in UNANSWERED or is_left)
    return {
        "status": status,
        "created_at": instant(content.get("createdAt")),
        "updated_at": instant(content.get("updatedAt")),
        "answered_at": instant(content.get("answeredAt")),
        "completed_at": instant(content.get("completedAt")),
        "duration_seconds": number(content.get("duration")),
        "forwarded_from": identifier(content.get("forwardedFrom")),
        "forwarded_to": identifier(content.get("forwardedTo")),
        "answered_by": first_text(content.get("answeredBy"), content.get("answeredByUserId")),
        "is_missed": event_type == "call.missed" or is_unanswered,
        "menu_selection": text(content.get("phoneMenuSelection")),
        "menu_selection_name": text(content.get("phoneMenuSelectionName")),
        "recordings": _recordings(content),
        "has_voicemail": True if voicemail else flag(content.get("hasVoicemail")),
        "voicemail": voicemail,
    }


def _parties(
    content: Json, context: Json, direction: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    named = mapping(context.get("participants"))
    external, own = identifiers(named.get("external")), identifiers(named.get("workspace"))
    if external or own:
        return external, own
    listed = identifiers(content.get("participants"))
    if len(listed) >= _BOTH and direction == "outgoing":
        return listed[1:], listed[:1]
    if listed:
        return listed[:1], listed[1:]
    sender, to = identifiers(content.get("from")), identifiers(content.get("to"))
    return (to, sender) if direction == "outgoing" else (sender, to)


def _recordings(content: Json) -> tuple[RecordingFacts, ...]:
    listed = items(content.get("recordings")) or items(content.get("media"))
    found = []
    for item in map(mapping, listed):
        url = text(item.get("url"))
        if url is not None:
            found.append(
                RecordingFacts(
                    id=text(item.get("id")),
                    url=url,
                    type=text(item.get("type")),
                    duration_seconds=number(item.get("duration")),
                    started_at=instant(item.get("startTime")),
                )
            )
    return tuple(found)


def _voicemail(left: Json) -> VoicemailFacts | None:
    if not left:
        return None
    return VoicemailFacts(
        id=text(left.get("id")),
        url=first_text(left.get("url"), left.get("recordingUrl")),
        type=text(left.get("type")),
        duration_seconds=number(left.get("duration")),
        transcript=text(left.get("transcript")),
    )


def _voicemail_event(content: Json) -> VoicemailFacts:
    return VoicemailFacts(
        id=text(content.get("voicemailId")),
        url=text(content.get("recordingUrl")),
        type=text(content.get("type")),
        duration_seconds=number(content.get("duration")),
        transcript=text(content.get("transcript")),
    )


def _summary(content: Json) -> dict[str, Any]:
    return {
        "processing_status": first_text(content.get("processingStatus"), content.get("status")),
        "summary": texts(content.get("summary")),
        "next_steps": texts(content.get("nextSteps")),
        "answered_by": text(content.get("answeredByUserId")),
    }


def _transcript(content: Json) -> dict[str, Any]:
    spoken = []
    for item in map(mapping, items(content.get("dialogue"))):
        said = text(item.get("content"))
        if said is not None:
            spoken.append(
                DialogueLine(
                    content=said,
                    start=number(item.get("start")),
                    end=number(item.get("end")),
                    identifier=identifier(item.get("identifier")),
                    user_id=text(item.get("userId")),
                )
            )
    return {
        "processing_status": first_text(content.get("processingStatus"), content.get("status")),
        "dialogue": tuple(spoken),
    }
