"""The client of OpenPhone's API: sends once, reads patiently."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from crm_api.domain.openphone.answers import SendAnswer
from crm_api.domain.openphone.facts import MessageFacts, OwnNumber, RegisteredWebhook
from crm_api.domain.openphone.hooks import DATED_VERSION, HookApi
from crm_api.domain.openphone.json_values import items
from crm_api.domain.openphone.listing import DATED_PAGE_SIZE, V1_PAGE_SIZE, Listing, times
from crm_api.domain.openphone.observing import ObservedTransport
from crm_api.domain.openphone.reading import Query, Reader
from crm_api.domain.openphone.sending import GateClock, GatedBody, call
from crm_api.domain.openphone.wire import parse_message, parse_phone_number

__all__ = ["GateClock", "OpenPhoneClient", "SendAnswer"]

KEEPALIVE_SECONDS = 4.0
"""Shorter than servers commonly keep an idle connection: one that closes just as a send begins
leaves that send unclear."""


class OpenPhoneClient:
    """One connection pool to the provider; close it with ``aclose`` or a ``with`` block.

    Sends are never repeated, on any layer. Reads are, a few times, and only when repeating can
    help.

    Attributes:
        lists: Lists page by page, for readings that stop and go on.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        max_connections: int = 64,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        connect_timeout: float = 5.0,
        read_timeout: float = 15.0,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        is_ours: bool = False,
    ) -> None:
        """Make a client; nothing is opened before the first call.

        Args:
            base_url: The host, with v1 under ``/v1``.
            api_key: Sent bare.
            transport: Instead of the network, for tests.
            sleep: Waits between the tries of a read.
            is_ours: The sandbox, which goes on with a trace; nobody else is told of it.
        """
        headers = {"authorization": api_key, "user-agent": "crm-api"}
        self._messages_url = httpx.URL(f"{base_url.rstrip('/')}/v1/messages")
        self._send_headers = {**headers, "content-type": "application/json"}
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=httpx.Timeout(read_timeout, connect=connect_timeout, pool=read_timeout),
            transport=ObservedTransport(
                transport or _transport(max_connections, keepalive_seconds), is_ours=is_ours
            ),
            trust_env=False,
        )
        self._reader = Reader(self._http, sleep=sleep)
        self.lists = Listing(self._reader)
        self.hooks = HookApi(self._http, self._reader)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send_message(
        self, *, sender: str, to: str, text: str, gate: GateClock, call_timeout: float
    ) -> SendAnswer:
        """Send one text to one recipient, at most once; how it ended is the answer.

        Args:
            sender: ``PN…`` or own number.
            gate: Taken before the statement of the gate that let this send pass.
            call_timeout: Seconds for the whole call.

        Raises:
            asyncio.CancelledError: The task was cancelled; the outcome is unknown.

        Source: OpenPhone API description 1.0.0, "Send a text message", read 2026-11-24.
        """
        content = orjson.dumps({"content": text, "from": sender, "to": [to]})
        body = GatedBody(content, gate)
        timeout = httpx.Timeout(call_timeout, connect=call_timeout / 2, pool=call_timeout / 2)
        # Made directly: merging the client's defaults costs as much as the rest of the request.
        request = httpx.Request(
            "POST",
            self._messages_url,
            content=body,
            headers={**self._send_headers, "content-length": str(len(content))},
            extensions={"timeout": timeout.as_dict()},
        )
        return await call(self._http, request, body, call_timeout=call_timeout)

    async def list_phone_numbers(self) -> list[OwnNumber]:
        """Fetch the workspace's own lines.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: A line without id or number.
        """
        answer = await self._reader.get("/v1/phone-numbers", [])
        return [parse_phone_number(item) for item in items(answer.get("data"))]

    async def list_webhooks(self) -> list[RegisteredWebhook]:
        """Fetch the webhooks that the key's owner made through the API.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: A webhook without id or address.
        """
        return await self.hooks.list_legacy()

    async def get_message(self, provider_message_id: str) -> MessageFacts:
        """Fetch one text.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx; 404 when there is none.
            UnreadableEventError: It lacks id, direction or time.
        """
        answer = await self._reader.get(f"/v1/messages/{quote(provider_message_id, safe='')}", [])
        return parse_message(answer.get("data"))

    async def list_messages(
        self,
        *,
        phone_number_id: str,
        participant: str,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[MessageFacts]:
        """Fetch every text between a line and one person, to the last page, newest first.

        Only a list that came to its end without an error says anything about what is not there.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: It does not come to an end.
            UnreadableEventError: A text that lacks id, direction or time.
        """
        query: Query = [
            ("phoneNumberId", phone_number_id),
            ("participants", participant),
            ("maxResults", str(V1_PAGE_SIZE)),
            *times(("createdAfter", created_after), ("createdBefore", created_before)),
        ]
        pages = self._reader.pages("/v1/messages", query, sent="pageToken", given="nextPageToken")
        async for item in pages:
            yield parse_message(item)

    async def list_workspace_messages(
        self,
        *,
        phone_number_id: str | None = None,
        to: str | None = None,
        direction: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[MessageFacts]:
        """Fetch the workspace's texts, to the last page, newest first.

        Both bounds are exclusive, as the provider has it.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: It does not come to an end.
            UnreadableEventError: A text that lacks id, direction or time.

        Source: restated from Quo, "List messages" (2026-03-30), read 2026-11-24.
        """
        named = (("phoneNumberId", phone_number_id), ("to", to), ("direction", direction))
        query: Query = [
            *((name, value) for name, value in named if value is not None),
            *times(("createdAt[gt]", created_after), ("createdAt[lt]", created_before)),
            ("limit", str(DATED_PAGE_SIZE)),
        ]
        pages = self._reader.pages(
            "/messages", query, sent="after", given="nextCursor", headers=DATED_VERSION
        )
        async for item in pages:
            yield parse_message(item)


def _transport(max_connections: int, keepalive_seconds: float) -> AiohttpTransport:
    # Made inside the running loop, at the first call.
    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=max_connections, keepalive_timeout=keepalive_seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    return AiohttpTransport(client=session)
