"""Read from the provider: retry failed reads that can succeed later, and read whole lists."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import aiohttp
import httpx

from crm_api.domain.kit.backoff import read_retry_after
from crm_api.domain.kit.retrying import retrying
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
)
from crm_api.domain.provider.openphone.json_values import text
from crm_api.domain.provider.openphone.send_responses import read_json, server_date
from crm_api.domain.provider.openphone.wire import parse_problem

DATED_VERSION = {"Quo-Api-Version": "2026-03-30"}
"""The header that selects API version 2026-03-30."""
MAX_PAGES = 1000
"""Maximum number of pages. A list with more pages is treated as broken."""
MOST_BYTES = 16 * 1024 * 1024
"""Maximum size, in bytes, of the response to a read request. A page of messages has about 200 kB, a
long transcript a few MB. The size that a header gives is ignored."""
_THROTTLED = 429
_SERVER_ERROR = 500


Query = list[tuple[str, str | int | float | bool | None]]


class ResponseTooLongError(httpx.HTTPError):
    """The response is larger than the maximum size."""


class ReadClient:
    """Reads JSON from the provider with one HTTP client, and retries failed reads.

    The function ``sleep`` waits before each retry.
    """

    def __init__(
        self, http: httpx.AsyncClient, *, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._http = http
        self._base = str(http.base_url).rstrip("/")
        self._sleep = sleep

    async def pages(
        self,
        path: str,
        query: Query,
        *,
        sent: str,
        given: str,
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        """Yield the items of all pages; the last page has no token for a next page.

        Args:
            sent: The query parameter for the token of the requested page.
            given: The response field that contains the token of the next page.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: The list repeats itself or does not end, or a page has no data.
        """
        seen: set[str] = set()
        token: str | None = None
        for _ in range(MAX_PAGES):
            more: Query = [(sent, token)] if token is not None else []
            answer = await self.get(path, query + more, headers=headers)
            if not isinstance(answer.get("data"), list):
                raise OpenPhoneListError(
                    "OpenPhone returned a list page without data, so the list could not be read "
                    "completely. Try again later."
                )
            for item in answer["data"]:
                yield item
            token = text(answer.get(given))
            if token is None:
                return
            if token in seen:
                raise OpenPhoneListError
            seen.add(token)
        raise OpenPhoneListError(
            f"OpenPhone's list has more than {MAX_PAGES} pages, so it was not read completely."
        )

    async def get(
        self, path: str, query: Query, *, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Fetch one JSON object; after a failure, wait and retry if a retry can succeed.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx.
        """
        patient = retrying(OpenPhoneBusyError, sleep=self._sleep)
        answer: dict[str, Any] = await patient(self._get_once, path, query, headers)
        return answer

    async def _get_once(
        self, path: str, query: Query, headers: dict[str, str] | None
    ) -> dict[str, Any]:
        # If httpx gets a complete URL, it parses the URL once. If it gets a path with parameters,
        # it parses the URL three times, which takes a tenth of the CPU time of a read.
        url = f"{self._base}{path}?{httpx.QueryParams(query)}" if query else self._base + path
        request = self._http.build_request("GET", httpx.URL(url), headers=headers)
        response = await request_once(self._http, request)
        if response.is_success:
            body = read_json(response)
            if isinstance(body, dict):
                return body
            raise OpenPhoneBusyError("OpenPhone's response is not a JSON object.")
        raise problem_of(response)


async def request_once(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Send a request once and read its response, up to ``MOST_BYTES`` bytes.

    Redirects are not followed.

    Raises:
        OpenPhoneBusyError: There is no response, or the response cannot be read to its end.
    """
    try:
        response = await http.send(request, stream=True, follow_redirects=False)
        return await read_bounded(response, most=MOST_BYTES)
    except httpx.HTTPError as error:
        raise OpenPhoneBusyError(f"OpenPhone did not respond ({type(error).__name__}).") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # If a response is incomplete, the transport raises its own errors and not those of httpx.
        raise OpenPhoneBusyError("OpenPhone's response is incomplete.") from error


async def read_bounded(response: httpx.Response, *, most: int) -> httpx.Response:
    """Read the body of a streamed response, and close the response.

    Args:
        most: Maximum size of the body in bytes, after decompression.

    Returns:
        A response with the same status and headers, and the decompressed body.

    Raises:
        ResponseTooLongError: The body has more than ``most`` bytes.
        httpx.HTTPError: The body ends too early or cannot be decompressed.
    """
    content = bytearray()
    # The decoders of httpx take a twentieth of the worker's CPU time for a message (measured). So
    # they are used only for a compressed body.
    is_plain = "content-encoding" not in response.headers
    stream = cast("httpx.AsyncByteStream", response.stream)
    try:
        async for part in stream if is_plain else response.aiter_bytes():
            content += part
            if len(content) > most:
                raise ResponseTooLongError(f"The response has more than {most} bytes.")
    finally:
        await response.aclose()
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in {"content-encoding", "content-length", "transfer-encoding"}
    ]
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(content), request=response.request
    )


def problem_of(response: httpx.Response) -> OpenPhoneBusyError | OpenPhoneRefusedError:
    """Convert a response with an error status into the exception to raise."""
    status = response.status_code
    problem = parse_problem(status, read_json(response))
    sentence = f"OpenPhone responded with HTTP {status}: {problem.detail}"
    if status != _THROTTLED and status < _SERVER_ERROR:
        return OpenPhoneRefusedError(sentence, status=status, provider_code=problem.code)
    date = server_date(response.headers.get("date"))
    wait = read_retry_after(response.headers.get("retry-after"), now=date)
    return OpenPhoneBusyError(
        sentence,
        retry_after_seconds=wait.seconds if wait else None,
        retry_after_asked=wait.asked_seconds if wait and wait.is_cut else None,
        is_throttled=status == _THROTTLED,
    )
