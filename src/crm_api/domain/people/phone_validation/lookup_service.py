"""Find the line type of a phone number with a paid look-up service over HTTP.

GET https://lookup.example.com/v1/lookup?phone=%2B16175550123
authorization: Bearer <key>

200 {"phone": "+16175550123", "line_type": "mobile", "carrier": "Example Wireless"}
404, 422 {…}            the service does not know the number: the line type is ``unknown``
401, 402, 403, …        the service refuses every look-up: the validation run ends as failed
429, 5xx, no response   the request is repeated, by the rules of ``kit/retrying.py``
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx
import orjson

from crm_api.domain.kit.backoff import read_http_date, read_retry_after
from crm_api.domain.kit.retrying import retrying
from crm_api.domain.people.models.phone_validation import LineType
from crm_api.domain.people.phone_validation.budget import Budget
from crm_api.domain.people.phone_validation.errors import (
    PhoneLookupBusyError,
    PhoneLookupRefusedError,
)
from crm_api.domain.people.phone_validation.validator import LineTypeAnswer

CALL_SECONDS = 10.0
"""The longest time in seconds from a request to the end of its response.

So a slow response cannot block a worker.
"""
MOST_BYTES = 64 * 1024
"""The largest accepted response; a normal response has a few hundred bytes."""
LONGEST_CARRIER = 200
_UNKNOWN_NUMBER = frozenset({404, 422})
_THROTTLED = 429
_SERVER_ERROR = 500
_NAMES = {
    "mobile": LineType.MOBILE,
    "cell": LineType.MOBILE,
    "wireless": LineType.MOBILE,
    "landline": LineType.LANDLINE,
    "fixed": LineType.LANDLINE,
    "fixedline": LineType.LANDLINE,
    "voip": LineType.VOIP,
    "fixedvoip": LineType.VOIP,
    "nonfixedvoip": LineType.VOIP,
    "tollfree": LineType.TOLL_FREE,
    "premium": LineType.PREMIUM,
}
"""The line type for each name that look-up services use. The names have no dashes or underscores.

The line type of any other name is ``unknown``.
"""


class LookupService:
    """Asks a paid service for the line types of phone numbers, one number per request.

    The number of requests per day is limited.
    """

    source = "lookup_service"

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        budget: Budget,
        call_seconds: float = CALL_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make a client; it opens no connection before the first request.

        Args:
            url: The URL of the service, with the fixed part of the query.
            api_key: Sent as a bearer token.
            call_seconds: The longest time in seconds from a request to the end of its response.
        """
        self._url = httpx.URL(url)
        self._budget = budget
        self._call_seconds = call_seconds
        self._retrying = retrying(PhoneLookupBusyError, sleep=sleep)
        self._http = httpx.AsyncClient(
            headers={
                "authorization": f"Bearer {api_key}",
                "accept": "application/json",
                "user-agent": "crm-api",
            },
            timeout=call_seconds,
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def look_up(self, phone: str) -> LineTypeAnswer:
        """Return the line type of a phone number; repeat the request after temporary errors.

        Raises:
            PhoneLookupBusyError: Status 429 or 5xx, or no response, even after retries.
            PhoneLookupRefusedError: The service refuses the key, or no look-up service is at the
                URL.
            BudgetSpentError: All look-ups of today are used.
        """
        answer: LineTypeAnswer = await self._retrying.copy()(self._look_up_once, phone)
        return answer

    async def _look_up_once(self, phone: str) -> LineTypeAnswer:
        day = await self._budget.take()
        try:
            return await self._ask(phone)
        except PhoneLookupRefusedError:
            self._budget.give_back(day)
            raise
        except PhoneLookupBusyError as error:
            # If the service refused the look-up because of its rate limit, no look-up was made.
            # After any other error, the look-up may have been made and billed.
            if error.is_throttled:
                self._budget.give_back(day)
            raise

    async def _ask(self, phone: str) -> LineTypeAnswer:
        url = self._url.copy_merge_params({"phone": phone})
        try:
            async with (
                asyncio.timeout(self._call_seconds),
                self._http.stream("GET", url) as response,
            ):
                content = await _read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise PhoneLookupBusyError(
                f"The phone look-up service sent no response ({type(error).__name__}). Try again "
                "later."
            ) from error
        return _understand(response, content, phone)


async def _read(response: httpx.Response) -> bytes:
    content = b""
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MOST_BYTES:
            raise PhoneLookupRefusedError(
                "The phone look-up service sent a response that is too large. Check "
                "CRM_PHONE_LOOKUP_URL."
            )
    return content


def _understand(response: httpx.Response, content: bytes, phone: str) -> LineTypeAnswer:
    status = response.status_code
    if status == _THROTTLED or status >= _SERVER_ERROR:
        date = read_http_date(response.headers.get("date"))
        wait = read_retry_after(response.headers.get("retry-after"), now=date)
        raise PhoneLookupBusyError(
            f"The phone look-up service is temporarily unavailable (HTTP status {status}). Try "
            "again later.",
            retry_after_seconds=wait.seconds if wait else None,
            is_throttled=status == _THROTTLED,
        )
    body = _json_object(content)
    if body is None:
        raise PhoneLookupRefusedError(
            f"The phone look-up service returned HTTP status {status}, but the body is "
            "not a JSON object. Check CRM_PHONE_LOOKUP_URL."
        )
    if status in _UNKNOWN_NUMBER:
        return LineTypeAnswer(line_type=LineType.UNKNOWN)
    if not response.is_success:
        raise PhoneLookupRefusedError(
            f"The phone look-up service returned HTTP status {status}. Check "
            "CRM_PHONE_LOOKUP_API_KEY and the account at the service."
        )
    named = body.get("line_type")
    if not isinstance(named, str) or body.get("phone", phone) != phone:
        raise PhoneLookupRefusedError(
            "The response of the phone look-up service has no `line_type`, or is about another "
            "number. Check CRM_PHONE_LOOKUP_URL."
        )
    carrier = body.get("carrier")
    return LineTypeAnswer(
        line_type=_NAMES.get("".join(filter(str.isalnum, named.lower())), LineType.UNKNOWN),
        carrier=carrier[:LONGEST_CARRIER].replace("\0", "") if isinstance(carrier, str) else None,
    )


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None
