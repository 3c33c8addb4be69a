"""Client of the OpenPhone API.

A request that sends a message is never repeated. A failed read is retried a few times.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Self

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from crm_api.domain.provider.openphone.facts import MessageFacts, OwnNumber
from crm_api.domain.provider.openphone.hooks import HookApi
from crm_api.domain.provider.openphone.json_values import items
from crm_api.domain.provider.openphone.listing import (
    V1_PAGE_SIZE,
    Listing,
    time_bounds,
)
from crm_api.domain.provider.openphone.observing import ObservedTransport
from crm_api.domain.provider.openphone.reading import Query, ReadClient
from crm_api.domain.provider.openphone.send_responses import SendResponse
from crm_api.domain.provider.openphone.sending import GateClock, GatedBody, send_once
from crm_api.domain.provider.openphone.wire import parse_message, parse_phone_number
from crm_api.platform.setting_fields import CALL_START_SECONDS
from crm_api.platform.settings import Settings

KEEPALIVE_SECONDS = 4.0
"""How many seconds an idle connection stays open. Servers usually keep it open longer. If the
server closed a connection just when a send begins, the outcome of that attempt would be unclear."""
CONNECT_TIMEOUT = 5.0
"""Maximum seconds to open a connection, for read requests only."""
READ_TIMEOUT = 15.0
"""Maximum seconds to wait for data or for a free connection, for read requests only."""


class OpenPhoneClient:
    """Calls the provider over one connection pool; close it with ``aclose`` or ``async with``.

    A request that sends a message is never repeated. A failed read is retried if a retry can
    succeed.

    Attributes:
        lists: Reads lists page by page.
        hooks: Registers, changes and tests webhooks, and reads their delivery logs.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        max_connections: int = 64,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        is_ours: bool = False,
    ) -> None:
        """Create a client; no connection is opened before the first request.

        Args:
            base_url: The URL of the API's host, without the path ``/v1``.
            api_key: The value of the ``Authorization`` header.
            transport: Replaces the network, for tests.
            sleep: Waits between two tries of a read, in seconds.
            is_ours: True if the provider is the sandbox. Only the sandbox gets trace headers.
        """
        headers = {"authorization": api_key, "user-agent": "crm-api"}
        self._messages_url = httpx.URL(f"{base_url.rstrip('/')}/v1/messages")
        self._send_headers = httpx.Headers(
            {
                "host": self._messages_url.netloc.decode(),
                **headers,
                "content-type": "application/json",
            }
        )
        self._transport = ObservedTransport(
            transport or _transport(max_connections, keepalive_seconds), is_ours=is_ours
        )
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            transport=self._transport,
            trust_env=False,
        )
        self._reader = ReadClient(self._http, sleep=sleep)
        self.lists = Listing(self._reader)
        self.hooks = HookApi(self._http, self._reader, sleep=sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send_message(
        self,
        *,
        sender: str,
        to: str,
        text: str,
        media_urls: Sequence[str] = (),
        gate: GateClock,
        call_timeout: float,
        call_start: float = CALL_START_SECONDS,
    ) -> SendResponse:
        """Send one message to one phone number, at most once; failures are returned, not raised.

        Args:
            sender: The line's ``PN…`` id or its phone number.
            media_urls: URLs of files to send. OpenPhone does not document how to send files. Use
                this argument only with the sandbox, or if ``CRM_OPENPHONE_SENDS_MEDIA`` is on.
            gate: The time just before the database was asked to allow this attempt.
            call_timeout: The maximum duration of the request, in seconds.
            call_start: The body must be sent at most this many seconds after ``gate``.

        Raises:
            asyncio.CancelledError: The task was cancelled; the outcome is unknown.

        Source: OpenPhone API description 1.0.0, "Send a text message", read 2026-11-24.
        """
        message: dict[str, Any] = {"content": text, "from": sender, "to": [to]}
        if media_urls:
            message["media"] = [{"url": url} for url in media_urls]
        content = orjson.dumps(message)
        body = GatedBody(content, gate, call_start=call_start)
        request = httpx.Request(
            "POST",
            self._messages_url,
            headers=self._send_headers,
            stream=body,
            extensions={"timeout": {"pool": call_timeout / 2, "connect": call_timeout / 2}},
        )
        request.headers["content-length"] = str(len(content))
        return await send_once(self._transport, request, body, call_timeout=call_timeout)

    async def list_phone_numbers(self) -> list[OwnNumber]:
        """Fetch all phone lines of the workspace.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: A line has no id or no phone number.
        """
        answer = await self._reader.get("/v1/phone-numbers", [])
        return [parse_phone_number(item) for item in items(answer.get("data"))]

    async def list_messages(
        self,
        *,
        phone_number_id: str,
        participant: str,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[MessageFacts]:
        """Yield every message between a line and one person, from all pages, newest first.

        After an error, some messages may be missing.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: The list repeats itself or does not end, or a page has no data.
            UnreadableEventError: A message has no id, direction or time.
        """
        query: Query = [
            ("phoneNumberId", phone_number_id),
            ("participants", participant),
            ("maxResults", str(V1_PAGE_SIZE)),
            *time_bounds(("createdAfter", created_after), ("createdBefore", created_before)),
        ]
        pages = self._reader.pages("/v1/messages", query, sent="pageToken", given="nextPageToken")
        async for item in pages:
            yield parse_message(item)


def _transport(max_connections: int, keepalive_seconds: float) -> AiohttpTransport:
    # The transport calls this function at the first request, because a session must be created
    # inside the running event loop.
    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=max_connections, keepalive_timeout=keepalive_seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    return AiohttpTransport(client=session, verify=_trusted_authorities())


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Return an SSL context that every ``AiohttpTransport`` gets, but does not use.

    The session in ``_transport`` checks certificates with its own context. Without an argument,
    each ``AiohttpTransport`` would create a context, which takes about 10 ms.
    """
    return httpx.create_ssl_context(trust_env=False)


CONCURRENCY = 192
"""Maximum number of concurrent requests. The rate limiter, and not this limit, decides how fast
requests follow each other."""


SANDBOX_KEY = "sandbox"
"""The API key for the sandbox; the sandbox accepts every key that is not empty."""


def open_provider(settings: Settings) -> OpenPhoneClient:
    """Create a client for OpenPhone, or for the sandbox if the settings have no API key."""
    key = settings.openphone_api_key
    return OpenPhoneClient(
        base_url=settings.provider_url,
        api_key=key.get_secret_value() if key is not None else SANDBOX_KEY,
        # A request that has passed the gate (the last check before the call of the provider) must
        # not wait for a connection.
        max_connections=CONCURRENCY,
        is_ours=settings.uses_sandbox,
    )
