"""Read the provider's lists page by page, so that the caller can stop and continue later.

Items are returned as unparsed JSON. So a caller that compares a hundred thousand items with stored
data parses only the items that differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError
from crm_api.domain.provider.openphone.json_values import Json, items, mapping, text
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
    """Parts of a call that are fetched separately; None if not fetched, empty if there are none."""

    recordings: list[Any] | None = None
    voicemail: Json | None = None
    summary: Json | None = None
    transcript: Json | None = None


class Listing:
    """Fetches lists from the provider; each method fetches one page or one resource.

    Raises:
        OpenPhoneBusyError: 429, 5xx, no response, or a page without data, even after retries.
        OpenPhoneRefusedError: Any other 4xx.

    Sources: OpenPhone API description 1.0.0; in our own words, Quo, "List messages" (2026-03-30);
    both read 2026-11-24.
    """

    def __init__(self, reader: ReadClient) -> None:
        self._reader = reader

    async def workspace_messages(
        self, *, after: datetime | None, before: datetime | None, token: str | None
    ) -> ListPage:
        """Fetch a page of the workspace's messages, newest first; the time bounds are exclusive."""
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
        """Fetch a call's recordings; empty if it has none."""
        answer = await self._extra("call-recordings", call_id)
        return items(answer.get("data"))

    async def voicemail(self, call_id: str) -> Json:
        """Fetch a call's voicemail; empty if it has none."""
        return mapping((await self._extra("call-voicemails", call_id)).get("data"))

    async def summary(self, call_id: str) -> Json:
        """Fetch a call's summary; empty if it has none."""
        return mapping((await self._extra("call-summaries", call_id)).get("data"))

    async def transcript(self, call_id: str) -> Json:
        """Fetch a call's transcript; empty if it has none."""
        return mapping((await self._extra("call-transcripts", call_id)).get("data"))

    async def _extra(self, family: str, call_id: str) -> Json:
        try:
            return await self._reader.get(f"/v1/{family}/{quote(call_id, safe='')}", [])
        except OpenPhoneRefusedError as error:
            # The provider answers 402 or 403 if the plan has no summaries or transcripts.
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
        """Fetch a page; ``names`` has the names of the token in the query and the response."""
        sent, given = names
        more: Query = [(sent, token)] if token is not None else []
        answer = await self._reader.get(path, query + more, headers=headers)
        if not isinstance(answer.get("data"), list):
            raise OpenPhoneBusyError("OpenPhone returned a list page without data.")
        return ListPage(items=answer["data"], next_token=text(answer.get(given)))


def time_bounds(*bounds: tuple[str, datetime | None]) -> Query:
    """Return the bounds that are not None as query parameters, in UTC with milliseconds."""
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
