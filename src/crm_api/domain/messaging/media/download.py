"""Download one file from a URL that an event contains, with limits on time, size and hosts."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import IO, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from crm_api.domain.kit.addresses import (
    AddressPolicy,
    AddressRefusedError,
    open_connector,
    parse_url,
    unreadable,
)
from crm_api.domain.messaging.media.errors import FetchError
from crm_api.domain.messaging.media.file_types import HEAD_BYTES
from crm_api.platform.settings import Settings

MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
OK = 200
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """Time limits of one download, in seconds, so that a slow host does not occupy a worker.

    Attributes:
        whole: The longest time for the whole download, including redirects.
        connect: The longest time to open a connection.
        silence: The longest time without new data.
    """

    whole: float = 30.0
    connect: float = 5.0
    silence: float = 10.0


@dataclass(frozen=True, kw_only=True)
class DownloadedFile:
    """A downloaded file.

    Attributes:
        sha256: The SHA-256 of the content, in hexadecimal.
        size_bytes: The size in bytes.
        head: The first bytes of the file, at most 4,096.
    """

    sha256: str
    size_bytes: int
    head: bytes


class Downloader:
    """Downloads files. Two downloads share no connection, cookie or resolved address.

    Proxy settings of the environment are ignored. A proxy would resolve host names itself, so this
    service could not check the IP addresses of the hosts.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        provider_url: str,
        api_key: str | None = None,
        limits: DownloadLimits | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Store the arguments; ``async with`` opens the HTTP session.

        Args:
            policy: Decides which hosts and IP addresses may be contacted.
            provider_url: The API key is sent only to the scheme, host and port of this URL.
            api_key: The provider's API key; None for the sandbox.
            resolver: Replaces the system's resolver of host names in tests.
        """
        self._policy = policy
        self._provider = URL(provider_url).origin()
        self._api_key = api_key
        self._limits = limits or DownloadLimits()
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build a downloader with the provider's URL and API key from the settings."""
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
            # Do not accept a compressed response, because a few kilobytes of gzip can expand to
            # gigabytes.
            headers={"user-agent": "crm-api", "accept": "*/*", "accept-encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, address: str, *, limit: int, into: IO[bytes]) -> DownloadedFile:
        """Download the file at a URL and write it to ``into`` while it arrives.

        Args:
            limit: The largest allowed size in bytes.
            into: The file to write to, positioned at its beginning.

        Raises:
            FetchError: The URL is not allowed, the host does not return the file, or the file is
                too large.
        """
        try:
            async with asyncio.timeout(self._limits.whole):  # one limit for all redirects
                return await self._follow(parse_url(address), limit=limit, into=into)
        except AddressRefusedError as error:
            raise _refused(error) from error
        except aiohttp.InvalidURL as error:
            raise _refused(unreadable()) from error
        except aiohttp.ClientPayloadError as error:
            raise FetchError(
                "truncated", "The host closed the connection before the end of the file."
            ) from error
        except TimeoutError as error:
            raise FetchError(
                "timeout", "The host did not return the whole file in time."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            detail = f"The host of the file is unreachable ({type(error).__name__})."
            raise FetchError("unreachable", detail) from error

    async def _follow(self, url: URL, *, limit: int, into: IO[bytes]) -> DownloadedFile:
        if self._session is None:
            raise RuntimeError("The downloader is not open; use `async with`.")
        for _ in range(MOST_REDIRECTS + 1):
            self._policy.check_url(url)
            headers = self._headers_for(url)
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                if answer.status not in REDIRECTS:
                    return await _take(answer, limit=limit, into=into)
                url = _next(url, answer.headers.get("location"))
        raise FetchError(
            "too_many_redirects",
            f"The host redirected the download more than {MOST_REDIRECTS} times.",
            is_final=True,
        )

    def _headers_for(self, url: URL) -> dict[str, str]:
        """Return the header with the API key if the URL is the provider's; otherwise no header."""
        if self._api_key is None or url.origin() != self._provider:
            return {}
        return {"authorization": self._api_key}


async def _take(answer: aiohttp.ClientResponse, *, limit: int, into: IO[bytes]) -> DownloadedFile:
    if answer.status != OK:
        raise FetchError(
            f"http_{answer.status}", f"The host returned the HTTP status {answer.status}."
        )
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError(
            "packed", "The host sent the file compressed, which is not allowed.", is_final=True
        )
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
        raise FetchError("empty", "The host returned an empty file.")
    return DownloadedFile(sha256=digest.hexdigest(), size_bytes=size, head=head)


def _write(into: IO[bytes], chunk: bytes) -> None:
    try:
        into.write(chunk)
    except OSError as error:
        raise FetchError(
            "disk", "The worker could not write the file to its temporary directory."
        ) from error


def _next(url: URL, location: str | None) -> URL:
    if not location:
        raise FetchError("bad_redirect", "The host sent a redirect without a target URL.")
    return url.join(parse_url(location))


def _refused(error: AddressRefusedError) -> FetchError:
    return FetchError(error.code, error.detail, is_final=True)


def _too_large(limit: int) -> FetchError:
    detail = f"The file is larger than {limit} bytes, the limit for files of its kind."
    return FetchError("too_large", detail, is_final=True)
