"""Convert a listed call into the events that webhooks would have delivered, in their order.

A list shows how a call ended. The call's recordings, voicemail, summary and transcript are fetched
separately. The call and these parts are converted to events, so that the code for webhook events
can process them. The webhooks of the same call may also arrive, earlier or later. This does not
change the stored call.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from crm_api.domain.provider.openphone.call_wire import parse_call
from crm_api.domain.provider.openphone.errors import UnreadableEventError
from crm_api.domain.provider.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.provider.openphone.json_values import Json, identity, instant, mapping, text
from crm_api.domain.provider.openphone.listing import CallExtras

HOOK_WORDS = {"completed": "answered", "no-answer": "unanswered", "missed": "unanswered"}
"""Maps the status of an ended call in a list to its status in a webhook of 2026-03-30."""
UNDER_WAY = frozenset({"queued", "initiated", "ringing", "in-progress"})
_COMPLETED = "completed"


def call_id_of(item: object) -> str | None:
    """Return the id of a listed call; None if it has none."""
    return identity(mapping(item).get("id"))


def has_ended(item: object) -> bool:
    """Return whether a listed call has ended."""
    return text(mapping(item).get("status")) not in UNDER_WAY


def events_of_call(
    item: object, *, person: str, own: str | None, conversation_id: str | None, extras: CallExtras
) -> list[ProviderEvent]:
    """Return the events of a listed call, in the order in which webhooks deliver them.

    Args:
        item: The call, as JSON from the list.
        person: The number of the outside party whose calls were listed.
        own: The line's number.
        conversation_id: The provider's id of the conversation; the list does not contain this id.
        extras: The parts of the call that were fetched separately.

    Raises:
        UnreadableEventError: The call has no id or no time of creation.
    """
    call = mapping(item)
    began_at = instant(call.get("createdAt"))
    if call_id_of(call) is None or began_at is None:
        raise UnreadableEventError("The call has no id or no time of creation.")
    context = {
        "conversationId": conversation_id,
        "phoneNumberId": call.get("phoneNumberId"),
        "userId": call.get("userId"),
        "participants": {"external": [person], "workspace": [] if own is None else [own]},
    }
    return [
        _event(kind, event_type, content, context, at)
        for kind, event_type, content, at in _parts(call, extras, began_at)
    ]


_Part = tuple[EventKind, str, dict[str, Any], datetime]
"""One event of a call before it is parsed: its kind, type, content and time."""


def _parts(call: Json, extras: CallExtras, began_at: datetime) -> Iterator[_Part]:
    named = {name: call.get(name) for name in ("id", "direction", "createdAt", "updatedAt")}
    yield EventKind.CALL, "call.ringing", named, began_at
    if not has_ended(call):
        return
    ended_at = instant(call.get("completedAt")) or began_at
    status = text(call.get("status"))
    course = {**call, "status": HOOK_WORDS.get(status or "", status)}
    is_left = _was_left(call, extras)
    if is_left is not None:
        course["hasVoicemail"] = is_left
    yield EventKind.CALL, "call.completed", course, ended_at
    if extras.recordings:
        recorded = {**named, "recordings": extras.recordings}
        yield EventKind.CALL, "call.recording.completed", recorded, ended_at
    if is_left and extras.voicemail is not None:
        left = {**extras.voicemail, "voicemailId": extras.voicemail.get("id")}
        left |= {"callId": call["id"], "direction": call.get("direction")}
        yield EventKind.CALL_VOICEMAIL, "call.voicemail.completed", left, ended_at
    for kind, event_type, words in (
        (EventKind.CALL_SUMMARY, "call.summary.completed", extras.summary),
        (EventKind.CALL_TRANSCRIPT, "call.transcript.completed", extras.transcript),
    ):
        if words and words.get("status") == _COMPLETED:
            yield kind, event_type, {**words, "callId": call["id"]}, ended_at


def _was_left(call: Json, extras: CallExtras) -> bool | None:
    """Return whether the caller left a voicemail; None if the voicemail was not fetched."""
    if extras.voicemail is not None:
        return bool(extras.voicemail)
    is_unanswered = instant(call.get("answeredAt")) is None
    may_be_left = is_unanswered and text(call.get("direction")) == "incoming"
    return None if may_be_left else False


def _event(
    kind: EventKind, event_type: str, content: Json, context: Json, at: datetime
) -> ProviderEvent:
    return ProviderEvent(
        event_id=None,
        type=event_type,
        api_version=None,
        created_at=at,
        kind=kind,
        call=parse_call(content, {"context": context}, kind=kind, event_type=event_type),
    )
