"""Lists of the provider, read page by page, so that a long reading can stop and go on.

Items stay as the provider wrote them: who compares a hundred thousand of them reads only those
that differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from crm_api.domain.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError
from crm_api.domain.openphone.json_values import Json, items, mapping, text
from crm_api.domain.openphone.reading import Query, Reader

DATED_VERSION = {"Quo-Api-Version": "2026-03-30"}
V1_PAGE_SIZE = 100
CONTACTS_PAGE_SIZE = 50
DATED_PAGE_SIZE = 50
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page; ``next_token`` is None on the last."""

    items: list[Any]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExtras:
    """What belongs to a call and is no member of it: None was not asked for, empty is not there."""

    recordings: list[Any] | None = None
    voicemail: Json | None = None
    summary: Json | None = None
    transcript: Json | None = None


class Listing:
    """The lists. Every method is one request, and may raise what ``Reader.get`` does.

    Raises:
        OpenPhoneBusyError: 429, 5xx, no answer, or a page that is none, also after the repeats.
        OpenPhoneRefusedError: Any other 4xx.

    Source: OpenPhone API description 1.0.0; restated from Quo, "List messages" (2026-03-30);
    both read 2026-11-24.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def workspace_messages(
        self, *, after: datetime | None, before: datetime | None, token: str | None
    ) -> ListPage:
        """Fetch a page of all texts of the workspace, newest first; both bounds are exclusive."""
        query: Query = [
            *times(("createdAt[gt]", after), ("createdAt[lt]", before)),
            ("limit", str(DATED_PAGE_SIZE)),
        ]
        return await self._page("/messages", query, ("after", "nextCursor"), token, DATED_VERSION)

    async def conversations(self, *, updated_after: datetime | None, token: str | None) -> ListPage:
        """Fetch a page of conversations, the last active first."""
        query: Query = [("maxResults", str(V1_PAGE_SIZE)), *times(("updatedAfter", updated_after))]
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
        """Fetch a page of the texts between a line and the same people, newest first."""
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
        """Fetch a call's recordings; none when it has none."""
        answer = await self._extra("call-recordings", call_id)
        return items(answer.get("data"))

    async def voicemail(self, call_id: str) -> Json:
        """Fetch what a caller left; empty when that is nothing."""
        return mapping((await self._extra("call-voicemails", call_id)).get("data"))

    async def summary(self, call_id: str) -> Json:
        """Fetch a call's summary; empty when there is none."""
        return mapping((await self._extra("call-summaries", call_id)).get("data"))

    async def transcript(self, call_id: str) -> Json:
        """Fetch what was said in a call; empty when that was not written down."""
        return mapping((await self._extra("call-transcripts", call_id)).get("data"))

    async def _extra(self, family: str, call_id: str) -> Json:
        try:
            return await self._reader.get(f"/v1/{family}/{quote(call_id, safe='')}", [])
        except OpenPhoneRefusedError as error:
            # Plans without summaries refuse them with a word of their own.
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
        """Fetch a page; ``names`` are the token's in the query and in the answer."""
        sent, given = names
        more: Query = [(sent, token)] if token is not None else []
        answer = await self._reader.get(path, query + more, headers=headers)
        if not isinstance(answer.get("data"), list):
            raise OpenPhoneBusyError("A page of OpenPhone's list holds no data.")
        return ListPage(items=answer["data"], next_token=text(answer.get(given)))


def times(*bounds: tuple[str, datetime | None]) -> Query:
    """Write the bounds that are there as query parameters."""
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
        *times(("createdAfter", after), ("createdBefore", before)),
    ]
