"""Simulate phone calls: the events that the provider sends about a call, and the lists of calls."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from crm_api.dev.sandbox.config import OwnLine
from crm_api.dev.sandbox.events import (
    Payload,
    SandboxEvent,
    dated_envelope,
    deep_link,
    legacy_envelope,
)
from crm_api.dev.sandbox.media import recording
from crm_api.dev.sandbox.message_store import conversation_id
from crm_api.dev.sandbox.wire_format import ORGANISATION, OWNER, stamp


@dataclass(frozen=True, kw_only=True)
class SandboxCall:
    """One simulated call.

    Attributes:
        is_incoming: True if the person calls the company, False if the company calls the person.
        seconds: Duration of the call, without the ringing.
        started_at: When the phone begins to ring.
        extras: Any of ``recording``, ``voicemail``, ``summary`` and ``transcript``.
        media_url: URL of the sandbox, for the links to recordings; None if unknown.
    """

    line: OwnLine
    person: str
    is_incoming: bool
    is_answered: bool
    seconds: int
    started_at: datetime
    extras: frozenset[str]
    media_url: str | None = None
    id: str = field(default_factory=lambda: "AC" + uuid4().hex)

    def events(self) -> list[SandboxEvent]:
        """Return the events of the call, from ringing to the transcript, in their order."""
        events = [self._ringing()]
        if self.is_answered:
            events.append(self._dated_only("call.answered", self._answered()))
        events.append(self._completed())
        if not self.is_answered and self.is_incoming:
            events.append(self._dated_only("call.missed", {}))
        if "recording" in self.extras:
            events.append(self._recording())
        if "voicemail" in self.extras:
            events.append(self._voicemail())
        if "summary" in self.extras:
            events.append(self._summary())
        if "transcript" in self.extras:
            events.append(self._transcript())
        return events

    def shown(self) -> Payload:
        """Return the call in the format of ``GET /v1/calls``."""
        ended = stamp(self.ended_at)
        status = "completed" if self.is_answered else "no-answer"
        shown = self._legacy_call(status=status, completed=ended, recordings=None)
        for name in ("object", "recordings", "contactIds"):
            del shown[name]
        return {**shown, "callRoute": "phone-number", "aiHandled": None}

    def recordings(self) -> list[Payload]:
        """Return a list with the recording of the call; empty if it was not recorded."""
        if "recording" not in self.extras:
            return []
        return [
            {
                "id": "CR" + self.id[2:12],
                "duration": self.seconds,
                "startTime": stamp(self.started_at),
                **recording(self.media_url, self.id),
            }
        ]

    def voicemail(self) -> Payload | None:
        """Return the voicemail; None if the caller left no voicemail."""
        if "voicemail" not in self.extras:
            return None
        return {
            "id": "VM" + self.id[2:12],
            "status": "completed",
            "duration": self.seconds,
            "transcript": "Hi, please call me back about the estimate.",
            "recordingUrl": recording(self.media_url, f"vm-{self.id}")["url"],
        }

    def summary(self) -> Payload | None:
        """Return the summary without the field ``status``; None if the call has no summary."""
        if "summary" not in self.extras:
            return None
        return {
            "callId": self.id,
            "summary": ["They asked what the estimate includes."],
            "nextSteps": ["Send a revised estimate."],
            "jobs": [],
        }

    def transcript(self) -> Payload | None:
        """Return the transcript without the field ``status``; None if the call has none."""
        if "transcript" not in self.extras:
            return None
        ours = {"identifier": self.line.number, "userId": OWNER}
        theirs = {"identifier": self.person, "userId": None}
        return {
            "callId": self.id,
            "createdAt": stamp(self.ended_at),
            "duration": float(self.seconds),
            "dialogue": [
                {"content": "Thanks for calling, this is Rowan.", "start": 0.4, "end": 3.0, **ours},
                {"content": "Hi, about the estimate.", "start": 3.6, "end": 5.5, **theirs},
            ],
        }

    @property
    def _direction(self) -> str:
        return "incoming" if self.is_incoming else "outgoing"

    @property
    def ended_at(self) -> datetime:
        """The end of the call: ``started_at`` plus six seconds of ringing plus ``seconds``."""
        return self.started_at + timedelta(seconds=self.seconds + 6)

    def _answered(self) -> Payload:
        answered = stamp(self.started_at + timedelta(seconds=6)) if self.is_answered else None
        return {
            "direction": self._direction,
            "answeredAt": answered,
            "answeredByUserId": OWNER if self.is_answered else None,
        }

    def _ringing(self) -> SandboxEvent:
        resource = {**self._times(), "direction": self._direction}
        legacy = self._legacy_call(status="ringing", completed=None, recordings=None)
        return self._event("call.ringing", resource, legacy)

    def _completed(self) -> SandboxEvent:
        answered = "completed" if self.is_answered else "no-answer"
        ended = stamp(self.ended_at)
        resource = {
            **self._times(),
            "direction": self._direction,
            "status": "answered" if self.is_answered else "unanswered",
            "answeredAt": self._answered()["answeredAt"],
            "completedAt": ended,
            "duration": self.seconds,
            "hasVoicemail": "voicemail" in self.extras,
        }
        legacy = self._legacy_call(status=answered, completed=ended, recordings=None)
        return self._event("call.completed", resource, legacy)

    def _recording(self) -> SandboxEvent:
        recordings = self.recordings()
        ended = stamp(self.ended_at)
        resource = {
            **self._times(),
            "direction": self._direction,
            "answeredAt": self._answered()["answeredAt"],
            "completedAt": ended,
            "duration": self.seconds,
            "recordings": recordings,
        }
        legacy = self._legacy_call(status="completed", completed=ended, recordings=recordings)
        return self._event("call.recording.completed", resource, legacy)

    def _voicemail(self) -> SandboxEvent:
        voicemail = self.voicemail() or {}
        resource = {
            **self._times(),
            "id": "AC" + uuid4().hex,
            "voicemailId": voicemail["id"],
            "callId": self.id,
            "direction": self._direction,
            "duration": voicemail["duration"],
            "from": self.person,
            "to": self.line.number,
            "transcript": voicemail["transcript"],
            "recordingUrl": voicemail["recordingUrl"],
        }
        return self._event("call.voicemail.completed", resource, None)

    def _summary(self) -> SandboxEvent:
        summary = self.summary() or {}
        dated = {
            **summary,
            "processingStatus": "completed",
            "fromPhoneNumber": self.person if self.is_incoming else self.line.number,
            "handledByAiAgent": False,
            "answeredByUserId": self._answered()["answeredByUserId"],
        }
        legacy = {**summary, "object": "callSummary", "status": "completed", "contactIds": []}
        return self._event("call.summary.completed", dated, legacy)

    def _transcript(self) -> SandboxEvent:
        transcript = self.transcript() or {}
        dated = {**transcript, "processingStatus": "completed"}
        legacy = {**transcript, "object": "callTranscript", "status": "completed", "contactIds": []}
        return self._event("call.transcript.completed", dated, legacy)

    def _times(self) -> Payload:
        started = stamp(self.started_at)
        return {"id": self.id, "createdAt": started, "updatedAt": started}

    def _dated_only(self, kind: str, extra: Payload) -> SandboxEvent:
        return self._event(kind, {**self._times(), **extra}, None)

    def _legacy_call(
        self, *, status: str, completed: str | None, recordings: list[Payload] | None
    ) -> Payload:
        parties = [self.person, self.line.number]
        is_over = completed is not None
        return {
            **self._times(),
            "object": "call",
            "answeredAt": self._answered()["answeredAt"] if is_over else None,
            "answeredBy": self._answered()["answeredByUserId"] if is_over else None,
            "initiatedBy": None if self.is_incoming else OWNER,
            "direction": self._direction,
            "status": status,
            "completedAt": completed,
            "duration": self.seconds if is_over else 0,
            "forwardedFrom": None,
            "forwardedTo": None,
            "phoneNumberId": self.line.id,
            "participants": parties if self.is_incoming else parties[::-1],
            "recordings": recordings,
            "userId": OWNER,
            "contactIds": [],
        }

    def _event(self, kind: str, resource: Payload, legacy: Payload | None) -> SandboxEvent:
        event_id, conversation = "EV" + uuid4().hex, conversation_id(self.line.id, (self.person,))
        link = deep_link(self.line.id, conversation, self.id)
        context: Payload = {
            "orgId": ORGANISATION,
            "phoneNumberId": self.line.id,
            "conversationId": conversation,
            "phoneNumberType": "shared",
            "userId": OWNER,
            "contacts": {"ids": [], "lookupStatus": "none"},
            "participants": {
                "workspace": [self.line.number],
                "external": [self.person],
                "resolution": "available",
            },
        }
        at = self.started_at if kind == "call.ringing" else self.ended_at
        if kind == "call.ringing":
            del context["contacts"], context["phoneNumberType"]
        return SandboxEvent(
            type=kind,
            phone_number_id=self.line.id,
            dated=dated_envelope(event_id, kind, at, resource=resource, context=context, link=link),
            legacy=None
            if legacy is None
            else legacy_envelope(event_id, kind, at, content=legacy, link=link),
        )


def read_call(
    body: dict[str, Any], line: OwnLine, *, at: datetime, media_url: str | None = None
) -> SandboxCall:
    """Return the call that a request to ``/sandbox/calls`` describes.

    Args:
        body: ``{person, direction?, answered?, seconds?, with?: [recording, summary, …]}``.
        at: When the phone begins to ring.
        media_url: URL of the sandbox, for the links to recordings; None if unknown.

    Raises:
        ValueError: ``with`` contains an unknown word.
        KeyError: ``person`` is missing.
    """
    extras = frozenset(body.get("with", ()))
    unknown = extras - {"recording", "voicemail", "summary", "transcript"}
    if unknown:
        raise ValueError(
            f"`with` contains unknown words ({', '.join(sorted(unknown))}); it accepts recording, "
            "voicemail, summary and transcript"
        )
    return SandboxCall(
        line=line,
        person=str(body["person"]),
        is_incoming=body.get("direction", "incoming") == "incoming",
        is_answered=bool(body.get("answered", True)),
        seconds=int(body.get("seconds", 60)),
        started_at=at,
        extras=extras,
        media_url=media_url,
    )
