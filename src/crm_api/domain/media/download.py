"""Fetches one file at a time from an address that an event names, within limits."""

import asyncio
import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from crm_api.domain.addresses import (
    AddressPolicy,
    AddressRefusedError,
    open_connector,
    parse_url,
    unreadable,
)
from crm_api.domain.media.errors import FetchError
from crm_api.domain.media.file_types import HEAD_BYTES
from crm_api.settings import Settings

MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
OK = 200
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds; a host that trickles may not hold a worker."""

    whole: float = 30.0
    connect: float = 5.0
    silence: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Received:
    """What was written down: its hash, size and first bytes."""

    sha256: str
    size_bytes: int
    head: bytes


class Downloader:
    """A session that keeps nothing between requests: no connection, cookie, cached address.

    It goes through no proxy of the environment, which would look up hosts by itself.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        provider_url: str,
        api_key: str | None = None,
        limits: Limits | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Make it; nothing is opened before the ``async with`` block.

        Args:
            policy: What may be connected to.
            provider_url: Its own host, the only one that gets the key.
            api_key: The provider's; None for the sandbox.
            limits: On times.
            resolver: Instead of the system's, for tests.
        """
        self._policy = policy
        self._provider = URL(provider_url).origin()
        self._api_key = api_key
        self._limits = limits or Limits()
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take what the settings say of the provider."""
        key = settings.openphone_api_key
        return cls(
            AddressPolicy.for_files(settings),
            provider_url=settings.provider_url,
            api_key=None if key is None else key.get_secret_value(),
        )

    async def __aenter__(self) -> Self:
        limits = self._limits
        self._session = aiohttp.ClientSession(
            connector=open_connector(self._policy, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.connect, sock_read=limits.silence
            ),
            # A few kilobytes of gzip may unpack to gigabytes.
            headers={"user-agent": "crm-api", "accept": "*/*", "accept-encoding": "identity"},
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

    async def fetch(self, address: str, *, limit: int, into: IO[bytes]) -> Received:
        """Fetch what is at an address, and write it down as it comes.

        Args:
            address: As the event has it.
            limit: Bytes; what is larger is cut off and refused.
            into: Is written from its beginning.

        Raises:
            FetchError: The address may not be asked, the host does not give the file, or it is
                too large.
        """
        try:
            async with asyncio.timeout(self._limits.whole):  # all redirects together
                return await self._follow(parse_url(address), limit=limit, into=into)
        except AddressRefusedError as error:
            raise _refused(error) from error
        except aiohttp.InvalidURL as error:
            raise _refused(unreadable()) from error
        except aiohttp.ClientPayloadError as error:
            raise FetchError("truncated", "The file broke off before its end.") from error
        except TimeoutError as error:
            raise FetchError("timeout", "The host did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            detail = f"The host cannot be reached ({type(error).__name__})."
            raise FetchError("unreachable", detail) from error

    async def _follow(self, url: URL, *, limit: int, into: IO[bytes]) -> Received:
        if self._session is None:
            msg = "The downloader is not open; use `async with`."
            raise RuntimeError(msg)
        for _ in range(MOST_REDIRECTS + 1):
            self._policy.check_url(url)
            headers = self._headers_for(url)
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                if answer.status not in REDIRECTS:
                    return await _take(answer, limit=limit, into=into)
                url = _next(url, answer.headers.get("location"))
        raise FetchError(
            "too_many_redirects",
            f"The host redirects more than {MOST_REDIRECTS} times.",
            is_final=True,
        )

    def _headers_for(self, url: URL) -> dict[str, str]:
        """Give the provider's own host the key, and no other one, also after a redirect."""
        if self._api_key is None or url.origin() != self._provider:
            return {}
        return {"authorization": self._api_key}


async def _take(answer: aiohttp.ClientResponse, *, limit: int, into: IO[bytes]) -> Received:
    if answer.status != OK:
        raise FetchError(f"http_{answer.status}", f"The host answers {answer.status}.")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError("packed", "The host packs the file, though asked not to.", is_final=True)
    if (answer.content_length or 0) > limit:
        raise _too_large(limit)
    digest, size, head = hashlib.sha256(), 0, b""
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if len(head) < HEAD_BYTES:
            head = (head + chunk)[:HEAD_BYTES]
        digest.update(chunk)
        _write(into, chunk)
    if size == 0:
        raise FetchError("empty", "The host gives an empty file.")
    return Received(sha256=digest.hexdigest(), size_bytes=size, head=head)


def _write(into: IO[bytes], chunk: bytes) -> None:
    try:
        into.write(chunk)
    except OSError as error:
        raise FetchError("disk", "The temporary file cannot be written.") from error


def _next(url: URL, location: str | None) -> URL:
    if not location:
        raise FetchError("bad_redirect", "The host redirects to nowhere.")
    return url.join(parse_url(location))


def _refused(error: AddressRefusedError) -> FetchError:
    return FetchError(error.code, error.detail, is_final=True)


def _too_large(limit: int) -> FetchError:
    detail = f"The file has more than {limit} bytes, the most that are taken of its kind."
    return FetchError("too_large", detail, is_final=True)
