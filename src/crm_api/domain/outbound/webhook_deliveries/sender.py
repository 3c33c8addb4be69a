"""Post one delivery to one endpoint, with limits on time and size, and only to public addresses."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from crm_api.domain.kit.addresses import (
    AddressPolicy,
    AddressRefusedError,
    open_connector,
    parse_url,
)
from crm_api.domain.outbound.webhook_deliveries.schedule import EndpointResponse, requested_pause
from crm_api.domain.outbound.webhook_endpoints.service import MOST_ENDPOINTS
from crm_api.platform.settings import Settings

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]

LookUp = Callable[[str, int, int], Sequence[AddressInfo]]
"""A function that takes host, port and address family, and returns the result of ``getaddrinfo``.
It may block."""


def _ask_system(host: str, port: int, family: int) -> Sequence[AddressInfo]:
    return socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )


class PatientResolver(AbstractResolver):
    """Resolves host names in threads.

    If a request times out during a look-up, the look-up continues. Later requests to the same host
    wait for its result, and start no second look-up.
    """

    def __init__(self, look_up: LookUp = _ask_system) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(MOST_ENDPOINTS, thread_name_prefix="webhook names")
        self._under_way: dict[tuple[str, int, int], asyncio.Future[Sequence[AddressInfo]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: The host name cannot be resolved.
        """
        wanted = (host, port, int(family))
        asked = self._under_way.get(wanted)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, self._look_up, *wanted)
            self._under_way[wanted] = asked
            asked.add_done_callback(partial(self._note, wanted))
        found = await asyncio.shield(asked)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    def _note(
        self, wanted: tuple[str, int, int], asked: "asyncio.Future[Sequence[AddressInfo]]"
    ) -> None:
        del self._under_way[wanted]
        if not asked.cancelled():
            asked.exception()  # marks the error as retrieved, as the caller may have timed out

    async def close(self) -> None:
        """Stop looking up host names.

        Look-ups that are already running continue. This method does not wait for them.
        """
        self._threads.shutdown(wait=False, cancel_futures=True)


CONNECT_SECONDS = 5.0
KEPT_OF_ANSWER = 500
"""Maximum number of bytes of an endpoint's response that are stored."""
READ_SECONDS = 2.0
"""Time limit for reading the body of a response. Only the status decides about success."""
HEADERS = {
    "content-type": "application/json",
    "user-agent": "crm-api-webhooks",
    "accept-encoding": "identity",
}


class WebhookSender:
    """Posts deliveries over its own HTTP session, without cookies and proxies.

    When a connection to a host is opened, the address of the host is looked up and checked. The
    connection stays open for later deliveries to the same host. For these deliveries, the address
    is not checked again.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        timeout_seconds: float,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Create a sender; its session is opened by the ``async with`` block.

        Args:
            policy: Decides to which addresses a request may be sent.
            timeout_seconds: Time limit of a whole attempt, in seconds.
            resolver: Replaces the system's resolver, for tests.
        """
        self._policy = policy
        self._timeout_seconds = timeout_seconds
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Create a sender from the settings of the process."""
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

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self, address: str, *, body: str | bytes, headers: Mapping[str, str], now: datetime
    ) -> EndpointResponse:
        """Post a delivery and return the response; a failure is returned, not raised."""
        begun = time.monotonic()
        reply = await self._try(address, body=body, headers=headers, now=now)
        duration_ms = int((time.monotonic() - begun) * 1000)
        return replace(reply, duration_ms=duration_ms)

    async def _try(
        self, address: str, *, body: str | bytes, headers: Mapping[str, str], now: datetime
    ) -> EndpointResponse:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(address, body=body, headers=headers, now=now)
        except AddressRefusedError as error:
            return EndpointResponse(error_code=error.code, detail=error.detail)
        except TimeoutError:
            detail = f"The endpoint did not respond within {self._timeout_seconds:g} seconds."
            return EndpointResponse(error_code="timeout", detail=detail)
        except aiohttp.ClientConnectorDNSError:
            return EndpointResponse(
                error_code="unknown_host",
                detail="The host name cannot be resolved. Check the address of the endpoint.",
            )
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError):
            return EndpointResponse(
                error_code="tls",
                detail="The TLS connection failed. Check the certificate of the host.",
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            detail = f"The host cannot be reached ({type(error).__name__})."
            return EndpointResponse(error_code="unreachable", detail=detail)

    async def _post(
        self, address: str, *, body: str | bytes, headers: Mapping[str, str], now: datetime
    ) -> EndpointResponse:
        if self._session is None:
            raise RuntimeError("The sender is not open; use `async with`.")
        url = parse_url(address)
        self._policy.check_url(url)
        data = body.encode() if isinstance(body, str) else body
        async with self._session.post(
            url, data=data, headers=headers, allow_redirects=False
        ) as answer:
            kept = await _read_beginning(answer)
            return _judge(answer, kept, now=now)


async def _read_beginning(answer: aiohttp.ClientResponse) -> str:
    """Return the beginning of a response as text, from at most ``KEPT_OF_ANSWER`` bytes.

    If the response was not read to its end, close the connection.
    """
    kept = b""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(READ_SECONDS):
            while len(kept) <= KEPT_OF_ANSWER and (chunk := await answer.content.readany()):
                kept += chunk
    if not answer.content.at_eof():
        answer.close()
    # PostgreSQL cannot store the character NUL in text, so NUL is replaced.
    return kept[:KEPT_OF_ANSWER].decode(errors="replace").replace("\x00", "\ufffd")


def _judge(answer: aiohttp.ClientResponse, kept: str, *, now: datetime) -> EndpointResponse:
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the successes of HTTP
        return EndpointResponse(status=status, body=kept)
    if 300 <= status < 400:  # noqa: PLR2004 - its redirects
        detail = (
            f"The endpoint responded with status {status}. Redirects are not followed; set the "
            "final address."
        )
    else:
        detail = f"The endpoint responded with status {status}."
    return EndpointResponse(
        status=status,
        error_code=f"http_{status}",
        detail=detail,
        body=kept,
        retry_after=requested_pause(answer.headers.get("retry-after"), now=now),
    )
