"""Read the provider's lists page by page, so that the caller can stop and continue later.

The items of a list are JSON values. A listed call is converted to events, together with its parts
that are fetched separately (recordings, voicemail, summary, transcript). If the provider's webhooks
deliver the same call, it is stored only once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from crm_api.domain.provider.openphone.call_wire import parse_call
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneRefusedError,
    UnreadableEventError,
)
from crm_api.domain.provider.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.provider.openphone.json_values import (
    Json,
    identity,
    instant,
    items,
    mapping,
    text,
)
from crm_api.domain.provider.openphone.reading import DATED_VERSION, Query, ReadClient

V1_PAGE_SIZE = 100
CONTACTS_PAGE_SIZE = 50
DATED_PAGE_SIZE = 50
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a list; ``next_token`` is None on the last page."""

    items: list[Any]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExtras:
    """Parts of a call that are fetched separately.

    A field is None if this part was not fetched, and empty if the call has no such part.
    """

    recordings: list[Any] | None = None
    voicemail: Json | None = None
    summary: Json | None = None
    transcript: Json | None = None


class Listing:
    """Fetches lists from the provider; each method fetches one page or one resource.

    Raises:
        OpenPhoneBusyError: 429, 5xx or no response, even after retries. Or a page has no data.
        OpenPhoneRefusedError: Any other 4xx.

    Sources, both read 2026-11-24: the OpenPhone API description 1.0.0, and the page "List messages"
    (2026-03-30) of Quo.
    """

    def __init__(self, reader: ReadClient) -> None:
        self._reader = reader

    async def workspace_messages(
        self, *, after: datetime | None, before: datetime | None, token: str | None
    ) -> ListPage:
        """Fetch a page of the workspace's messages, newest first.

        Only messages that were created after ``after`` and before ``before`` are fetched. None
        means no limit.
        """
        query: Query = [
            *time_bounds(("createdAt[gt]", after), ("createdAt[lt]", before)),
            ("limit", str(DATED_PAGE_SIZE)),
        ]
        return await self._page("/messages", query, ("after", "nextCursor"), token, DATED_VERSION)

    async def conversations(self, *, updated_after: datetime | None, token: str | None) -> ListPage:
        """Fetch a page of conversations, most recently active first."""
        query: Query = [
            ("maxResults", str(V1_PAGE_SIZE)),
            *time_bounds(("updatedAfter", updated_after)),
        ]
        return await self._v1_page("/v1/conversations", query, token)

    async def contacts(self, *, token: str | None) -> ListPage:
        """Fetch a page of the workspace's contacts."""
        query: Query = [("maxResults", str(CONTACTS_PAGE_SIZE))]
        return await self._v1_page("/v1/contacts", query, token)

    async def contact_fields(self) -> list[Any]:
        """Fetch the custom fields that the workspace has defined for contacts."""
        answer = await self._reader.get("/v1/contact-custom-fields", [])
        return items(answer.get("data"))

    async def thread_messages(
        self,
        *,
        phone_number_id: str,
        participants: Sequence[str],
        after: datetime | None,
        before: datetime | None,
        token: str | None,
    ) -> ListPage:
        """Fetch a page of the messages between a line and one group of people, newest first."""
        query = _thread(phone_number_id, participants, after, before)
        return await self._v1_page("/v1/messages", query, token)

    async def thread_calls(
        self,
        *,
        phone_number_id: str,
        participant: str,
        after: datetime | None,
        before: datetime | None,
        token: str | None,
    ) -> ListPage:
        """Fetch a page of the calls between a line and one person, newest first."""
        query = _thread(phone_number_id, [participant], after, before)
        return await self._v1_page("/v1/calls", query, token)

    async def recordings(self, call_id: str) -> list[Any]:
        """Fetch a call's recordings; empty if the call has no recording."""
        answer = await self._extra("call-recordings", call_id)
        return items(answer.get("data"))

    async def voicemail(self, call_id: str) -> Json:
        """Fetch a call's voicemail; empty if the call has no voicemail."""
        return mapping((await self._extra("call-voicemails", call_id)).get("data"))

    async def summary(self, call_id: str) -> Json:
        """Fetch a call's summary; empty if the call has no summary."""
        return mapping((await self._extra("call-summaries", call_id)).get("data"))

    async def transcript(self, call_id: str) -> Json:
        """Fetch a call's transcript; empty if the call has no transcript."""
        return mapping((await self._extra("call-transcripts", call_id)).get("data"))

    async def _extra(self, family: str, call_id: str) -> Json:
        try:
            return await self._reader.get(f"/v1/{family}/{quote(call_id, safe='')}", [])
        except OpenPhoneRefusedError as error:
            # The provider responds with 402 or 403 if the plan has no summaries or transcripts.
            if error.status in {_NOT_FOUND, 402, 403}:
                return {}
            raise

    async def _v1_page(self, path: str, query: Query, token: str | None) -> ListPage:
        return await self._page(path, query, ("pageToken", "nextPageToken"), token, None)

    async def _page(
        self,
        path: str,
        query: Query,
        names: tuple[str, str],
        token: str | None,
        headers: dict[str, str] | None,
    ) -> ListPage:
        """Fetch one page of a list.

        Args:
            names: The name of the query parameter for the token of the requested page, and the name
                of the response field with the token of the next page.
        """
        sent, given = names
        more: Query = [(sent, token)] if token is not None else []
        answer = await self._reader.get(path, query + more, headers=headers)
        if not isinstance(answer.get("data"), list):
            raise OpenPhoneBusyError("OpenPhone returned a list page without data.")
        return ListPage(items=answer["data"], next_token=text(answer.get(given)))


def time_bounds(*bounds: tuple[str, datetime | None]) -> Query:
    """Convert the time limits of a list request to query parameters, in UTC with milliseconds.

    A limit that is None is left out.
    """
    return [
        (name, at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        for name, at in bounds
        if at is not None
    ]


def _thread(
    phone_number_id: str,
    participants: Sequence[str],
    after: datetime | None,
    before: datetime | None,
) -> Query:
    return [
        ("phoneNumberId", phone_number_id),
        *(("participants", one) for one in participants),
        ("maxResults", str(V1_PAGE_SIZE)),
        *time_bounds(("createdAfter", after), ("createdBefore", before)),
    ]


HOOK_WORDS = {"completed": "answered", "no-answer": "unanswered", "missed": "unanswered"}
"""Statuses of ended calls: maps the word in a list to the word in a webhook of API version
2026-03-30."""
UNDER_WAY = frozenset({"queued", "initiated", "ringing", "in-progress"})
_COMPLETED = "completed"


def call_id_of(item: object) -> str | None:
    """Return the id of a listed call; None if the call has no usable id."""
    return identity(mapping(item).get("id"))


def has_ended(item: object) -> bool:
    """Return whether a listed call has ended."""
    return text(mapping(item).get("status")) not in UNDER_WAY


def events_of_call(
    item: object, *, person: str, own: str | None, conversation_id: str | None, extras: CallExtras
) -> list[ProviderEvent]:
    """Convert a listed call to events, in the order in which webhooks would deliver them.

    Args:
        person: The number of the person whose calls were listed.
        own: The number of the line.
        conversation_id: The provider's id of the conversation. A listed call does not contain it.

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
    """Return whether the caller left a voicemail; None if this is not known.

    If the voicemail was not fetched, the result depends on the call: None for an unanswered
    incoming call, and False for every other call. Only unanswered incoming calls can have a
    voicemail.
    """
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
        created_at=at,
        kind=kind,
        call=parse_call(content, {"context": context}, kind=kind, event_type=event_type),
    )
