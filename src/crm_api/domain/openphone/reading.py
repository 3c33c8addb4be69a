"""Reads from the provider: repeated when that can help, and lists to their very end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import httpx

from crm_api.domain.openphone.answers import read_json, retry_after, server_date
from crm_api.domain.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
)
from crm_api.domain.openphone.json_values import text
from crm_api.domain.openphone.wire import parse_problem
from crm_api.domain.retrying import retrying

MAX_PAGES = 1000
"""A list that goes on beyond this is taken to be broken, not long."""
_THROTTLED = 429
_SERVER_ERROR = 500


Query = list[tuple[str, str | int | float | bool | None]]


class Reader:
    """Reads through one HTTP client; ``sleep`` waits between the tries."""

    def __init__(
        self, http: httpx.AsyncClient, *, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._http = http
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
        """Yield the items of every page until no token is given.

        Args:
            sent: The query parameter that carries the token.
            given: The member of an answer that holds the next one.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: The list does not come to an end.
        """
        seen: set[str] = set()
        token: str | None = None
        for _ in range(MAX_PAGES):
            more: Query = [(sent, token)] if token is not None else []
            answer = await self.get(path, query + more, headers=headers)
            if not isinstance(answer.get("data"), list):
                raise OpenPhoneListError("A page of the list holds no data.")
            for item in answer["data"]:
                yield item
            token = text(answer.get(given))
            if token is None:
                return
            if token in seen:
                raise OpenPhoneListError("The list gave the same page token again.")
            seen.add(token)
        raise OpenPhoneListError(f"The list has more than {MAX_PAGES} pages.")

    async def get(
        self, path: str, query: Query, *, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Fetch one JSON object, again after a while when that can help.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
        """
        patient = retrying(OpenPhoneBusyError, sleep=self._sleep)
        answer: dict[str, Any] = await patient(self._get_once, path, query, headers)
        return answer

    async def _get_once(
        self, path: str, query: Query, headers: dict[str, str] | None
    ) -> dict[str, Any]:
        try:
            response = await self._http.get(path, params=query or None, headers=headers)
        except httpx.HTTPError as error:
            raise OpenPhoneBusyError(
                f"No answer from OpenPhone: {type(error).__name__}."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            # A broken answer leaves the transport as its own error, not as one of httpx.
            raise OpenPhoneBusyError("OpenPhone's answer broke off.") from error
        if response.is_success:
            body = read_json(response)
            if isinstance(body, dict):
                return body
            raise OpenPhoneBusyError("OpenPhone's answer is no JSON object.")
        raise _problem(response)


def _problem(response: httpx.Response) -> OpenPhoneBusyError | OpenPhoneRefusedError:
    problem = parse_problem(response.status_code, read_json(response))
    if response.status_code == _THROTTLED or response.status_code >= _SERVER_ERROR:
        date = server_date(response.headers.get("date"))
        return OpenPhoneBusyError(
            f"OpenPhone answered {response.status_code}: {problem.detail}",
            retry_after_seconds=retry_after(response.headers.get("retry-after"), date),
            is_answer=response.status_code == _THROTTLED,
        )
    return OpenPhoneRefusedError(
        f"OpenPhone answered {response.status_code}: {problem.detail}",
        status=response.status_code,
        provider_code=problem.code,
    )
