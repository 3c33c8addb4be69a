"""Merge the provider's events about one call into one document.

Events may arrive in any order and more than once, but the resulting document must always be the
same. So the rule that merges a field must not depend on the order. For example, a rule keeps the
earliest value, the longest value or all values. An example of the document::

    {"created_at": "2026-11-20T16:10:00.221000+00:00", "answered_at": "…", "completed_at": "…",
     "duration_seconds": 155, "external": ["+16175550123"], "own": ["+16175550100"],
     "menu": [{"at": "…", "selection": "1", "name": "Estimates"}], "is_missed": false,
     "recordings": [{"id": "CR…", "url": "https://…"}], "voicemail": {"transcript": "…"},
     "summary": {"text": ["…"], "next_steps": ["…"]}, "transcript": [{"content": "…"}]}
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from crm_api.domain.provider.openphone.facts import CallFacts, RecordingFacts, VoicemailFacts

Document = dict[str, Any]

STUB_STATUS = "unknown"
"""Status of a call if only its summary, its transcript or its voicemail has arrived."""
STATUS_OF_EVENT = {
    "call.ringing": (1, "ringing"),
    "call.answered": (2, "answered"),
    "call.forwarded": (3, "forwarded"),
    "call.missed": (4, "missed"),
}
FINAL_RANK = 5
_STAGE_OF_WORD = {"queued": 1, "initiated": 1, "ringing": 1, "in-progress": 2}


def rank_status(facts: CallFacts, event_type: str | None) -> tuple[int, str]:
    """Return the rank and the name of the call status that an event reports.

    A call gets the status with the highest rank. If two statuses have the same rank, the call gets
    the one that comes later in the alphabet.

    Args:
        event_type: None if the call was read from a list of the provider.
    """
    if event_type in STATUS_OF_EVENT:
        return STATUS_OF_EVENT[event_type]
    if facts.status is not None:
        word = facts.status.lower()
        return _STAGE_OF_WORD.get(word, FINAL_RANK), word
    if event_type == "call.completed":
        return FINAL_RANK, "completed"
    return 0, STUB_STATUS


def merge_call(known: Document, facts: CallFacts, *, event_at: datetime | None) -> Document:
    """Add the data of one event to the stored document of a call, and return the new document.

    Args:
        known: The document without this event; empty for a new call.
        event_at: When the event happened. ``first_event_at`` keeps the earliest of these times
            until the start of the call is known. ``last_event_at`` keeps the latest of these times
            until the other party is known.
    """
    merged = dict(known)
    _set(merged, "created_at", _earliest(known.get("created_at"), facts.created_at))
    if "created_at" in merged:
        merged.pop("first_event_at", None)
    else:
        _set(merged, "first_event_at", _earliest(known.get("first_event_at"), event_at))
    for name in ("answered_at", "completed_at", "updated_at"):
        _set(merged, name, _latest(known.get(name), getattr(facts, name)))
    for name in (
        "direction",
        "duration_seconds",
        "forwarded_from",
        "forwarded_to",
        "answered_by",
        "conversation_id",
        "user_id",
        "processing_status",
    ):
        _set(merged, name, _larger(known.get(name), getattr(facts, name)))
    for name in ("external", "own"):
        _set(merged, name, _longer(known.get(name), list(getattr(facts, name))))
    # `last_event_at` (the time of the call's newest event) is needed only until the other party of
    # the call is known. Then it is copied to the conversation as the time of the last activity.
    if "external" in merged:
        merged.pop("last_event_at", None)
    else:
        _set(merged, "last_event_at", _latest(known.get("last_event_at"), event_at))
    merged["is_missed"] = known.get("is_missed", False) or facts.is_missed
    _set(merged, "has_voicemail", _larger(known.get("has_voicemail"), facts.has_voicemail))
    _set(merged, "menu", _merge_menu(known.get("menu", []), facts))
    _set(merged, "recordings", _merge_recordings(known.get("recordings", []), facts.recordings))
    if facts.voicemail is not None:
        merged["voicemail"] = _merge_voicemail(known.get("voicemail", {}), facts.voicemail)
    if facts.summary or facts.next_steps:
        summary = {"text": list(facts.summary), "next_steps": list(facts.next_steps)}
        merged["summary"] = _longer(known.get("summary"), summary)
    spoken = [_plain(line) for line in facts.dialogue]
    _set(merged, "transcript", _longer(known.get("transcript"), spoken))
    return merged


def began_at(document: Document) -> datetime | None:
    """Return the time at which the call began.

    If this time is unknown, return the time of the first event of the call. If both times are
    unknown, return None.
    """
    written = document.get("created_at") or document.get("first_event_at")
    return None if written is None else datetime.fromisoformat(written)


def placed_at(document: Document) -> datetime | None:
    """Return the time at which the company called the person.

    The result is None if the person called the company, or if the beginning of the call is unknown.
    """
    if document.get("direction") != "outgoing" or "created_at" not in document:
        return None
    return datetime.fromisoformat(document["created_at"])


def heard_until(known: Document, event_at: datetime | None) -> datetime | None:
    """Return the time of the latest known event of a call; None if no time is known.

    Args:
        known: The stored document of the call, without the new event. The document contains the
            time of the latest stored event only while the other party is unknown.
        event_at: When the new event happened.
    """
    written = _latest(known.get("last_event_at"), event_at)
    return None if written is None else datetime.fromisoformat(written)


def is_contact(document: Document) -> bool:
    """Return True if this call brought the person and the company into contact.

    This is the case if the person called, or answered a call from the company.
    """
    return document.get("direction") == "incoming" or "answered_at" in document


def needs_answer(document: Document) -> bool:
    """Return True if the person called and the call was missed or has a voicemail."""
    is_missed = document.get("is_missed", False) and "answered_at" not in document
    return document.get("direction") == "incoming" and (is_missed or "voicemail" in document)


def was_answered(document: Document) -> bool:
    """Return True if the call was answered by a human and not by a voicemail system."""
    return "answered_at" in document and "voicemail" not in document


def _set(document: Document, name: str, value: object) -> None:
    if value is not None and value != []:
        document[name] = value


def _write(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="microseconds")


def _earliest(known: str | None, new: datetime | None) -> str | None:
    return min(filter(None, (known, _write(new))), default=None)


def _latest(known: str | None, new: datetime | None) -> str | None:
    return max(filter(None, (known, _write(new))), default=None)


def _larger(known: Any, new: Any) -> Any:  # noqa: ANN401 - strings or numbers
    return max((value for value in (known, new) if value is not None), default=None)


def _longer(known: Any, new: Any) -> Any:  # noqa: ANN401 - JSON
    """Return one of the two values: the value whose JSON text is longer.

    If both JSON texts have the same length, return the value whose JSON text is later in
    alphabetical order.
    """
    written = (json.dumps(value, sort_keys=True) for value in (known, new) if value)
    longest = max(written, key=lambda text: (len(text), text), default=None)
    return None if longest is None else json.loads(longest)


def _plain(facts: Any) -> Document:  # noqa: ANN401 - a dataclass
    written = asdict(facts).items()
    return {
        name: _write(value) if isinstance(value, datetime) else value
        for name, value in written
        if value is not None
    }


def _merge_menu(known: list[Document], facts: CallFacts) -> list[Document]:
    """Return the caller's choices in phone menus, including the choice in the event, if any."""
    if facts.menu_selection is None and facts.menu_selection_name is None:
        return known
    choice = {
        "at": _write(facts.updated_at or facts.created_at),
        "selection": facts.menu_selection,
        "name": facts.menu_selection_name,
    }
    return _sorted([*(one for one in known if one != choice), choice], by="at")


def _merge_recordings(known: list[Document], new: tuple[RecordingFacts, ...]) -> list[Document]:
    recordings = {_same_recording(recording): recording for recording in known}
    for facts in new:
        recording = _plain(facts)
        key = _same_recording(recording)
        recordings[key] = _longer(recordings.get(key), recording)
    return _sorted(list(recordings.values()), by="started_at")


def _same_recording(recording: Document) -> tuple[Any, ...]:
    """Return a key that identifies a recording: its start and duration, or its URL.

    The URL is the key only if the start or the duration is missing.

    The provider has two webhook systems. They report the same recording with different ids and
    URLs.
    """
    if "started_at" in recording and "duration_seconds" in recording:
        return recording["started_at"], recording["duration_seconds"]
    return (recording["url"],)


def _merge_voicemail(known: Document, new: VoicemailFacts) -> Document:
    merged = dict(known)
    for name, value in _plain(new).items():
        merged[name] = _larger(known.get(name), value)
    return merged


def _sorted(documents: list[Document], *, by: str) -> list[Document]:
    return sorted(documents, key=lambda one: (one.get(by) or "", json.dumps(one, sort_keys=True)))
