"""Posts one message to one endpoint, within limits, and never to a place that is not public."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver

from crm_api.domain.addresses import AddressPolicy, AddressRefusedError, open_connector, parse_url
from crm_api.domain.webhook_deliveries.names import PatientResolver
from crm_api.domain.webhook_deliveries.schedule import Reply, read_retry_after
from crm_api.settings import Settings

CONNECT_SECONDS = 5.0
KEPT_OF_ANSWER = 500
"""Bytes; what more there is, is not even read."""
READ_SECONDS = 2.0
"""The status has told all that counts by then."""
HEADERS = {
    "content-type": "application/json",
    "user-agent": "crm-api-webhooks",
    "accept-encoding": "identity",
}


class Sender:
    """A session of its own: no cookies, no proxy of the environment, no address remembered.

    A connection is kept for the next message to the same host; it leads to the address that was
    looked at when it was opened.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        timeout_seconds: float,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Make it; nothing is opened before the ``async with`` block.

        Args:
            policy: What may be connected to.
            timeout_seconds: For a whole try.
            resolver: Instead of the system's, for tests.
        """
        self._policy = policy
        self._timeout_seconds = timeout_seconds
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take what the settings say."""
        return cls(
            AddressPolicy.for_webhooks(settings),
            timeout_seconds=settings.webhook_endpoint_timeout_seconds,
        )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=open_connector(
                self._policy, resolver=self._resolver or PatientResolver(), keeps_open=True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers=HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self, address: str, *, body: str, headers: Mapping[str, str], now: datetime
    ) -> Reply:
        """Post a message; whatever happens is in the reply, nothing is raised."""
        begun = time.monotonic()
        reply = await self._try(address, body=body, headers=headers, now=now)
        duration_ms = int((time.monotonic() - begun) * 1000)
        return Reply(**{**reply.__dict__, "duration_ms": duration_ms})

    async def _try(
        self, address: str, *, body: str, headers: Mapping[str, str], now: datetime
    ) -> Reply:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(address, body=body, headers=headers, now=now)
        except AddressRefusedError as error:
            return Reply(error_code=error.code, detail=error.detail)
        except TimeoutError:
            detail = f"There was no answer within {self._timeout_seconds:g} seconds."
            return Reply(error_code="timeout", detail=detail)
        except aiohttp.ClientConnectorDNSError:
            return Reply(error_code="unknown_host", detail="The host's name is not known.")
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError):
            return Reply(error_code="tls", detail="TLS failed: look at the host's certificate.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            detail = f"The host cannot be reached ({type(error).__name__})."
            return Reply(error_code="unreachable", detail=detail)

    async def _post(
        self, address: str, *, body: str, headers: Mapping[str, str], now: datetime
    ) -> Reply:
        if self._session is None:
            msg = "The sender is not open; use `async with`."
            raise RuntimeError(msg)
        url = parse_url(address)
        self._policy.check_url(url)
        async with self._session.post(
            url, data=body.encode(), headers=headers, allow_redirects=False
        ) as answer:
            kept = await _read_beginning(answer)
            return _judge(answer, kept, now=now)


async def _read_beginning(answer: aiohttp.ClientResponse) -> str:
    """Read at most what is kept; a connection with more to say is closed and not used again."""
    kept = b""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(READ_SECONDS):
            while len(kept) <= KEPT_OF_ANSWER and (chunk := await answer.content.readany()):
                kept += chunk
    if not answer.content.at_eof():
        answer.close()
    # PostgreSQL takes no NUL in a text.
    return kept[:KEPT_OF_ANSWER].decode(errors="replace").replace("\x00", "\ufffd")


def _judge(answer: aiohttp.ClientResponse, kept: str, *, now: datetime) -> Reply:
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the successes of HTTP
        return Reply(status=status, body=kept)
    if 300 <= status < 400:  # noqa: PLR2004 - its redirects
        detail = f"It answered {status}. Redirects are not followed: give the final address."
    else:
        detail = f"It answered {status}."
    return Reply(
        status=status,
        error_code=f"http_{status}",
        detail=detail,
        body=kept,
        retry_after=read_retry_after(answer.headers.get("retry-after"), now=now),
    )
