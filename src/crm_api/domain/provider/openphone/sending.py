"""Send one message with one API request to the provider, and classify the result.

After a failure, it matters whether the transport (the HTTP client) got the body of the request. If
not, the message was certainly not sent. If so, the message may have been sent. Exceptions do not
show whether the transport got the body, so ``GatedBody`` records it. See ARCHITECTURE.md,
"Sending, rule 4" and "Sending, rule 5".
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

import httpx

from crm_api.domain.provider.openphone.json_values import without_numbers
from crm_api.domain.provider.openphone.reading import ResponseTooLongError, read_bounded
from crm_api.domain.provider.openphone.send_responses import (
    ResponseKind,
    SendResponse,
    classify_send_response,
)
from crm_api.platform import failpoints
from crm_api.platform.setting_fields import CALL_START_SECONDS

MOST_BYTES_OF_SEND = 256 * 1024
"""Maximum size, in bytes, of the response to a send request. A real response has a few
kilobytes."""


@dataclass(frozen=True)
class GateClock:
    """The time, by two clocks, just before the last check of an attempt to send a message.

    Two clocks are needed, because the monotonic clock stops while the machine sleeps, and the wall
    clock can be set to another time.
    """

    monotonic: float
    wall: float

    @classmethod
    def start(cls) -> Self:
        """Read the present time of two clocks: the monotonic clock and the wall clock.

        Call this method just before the SQL statement that decides whether an attempt may be made.
        Then the result of ``elapsed()`` includes the time of this statement.
        """
        return cls(time.monotonic(), time.time())

    def elapsed(self) -> float:
        """Return how many seconds have passed since the call of ``start()``.

        If the monotonic clock and the wall clock give different values, the result is the larger
        value.
        """
        return max(time.monotonic() - self.monotonic, time.time() - self.wall)


class BodyTooLateError(Exception):
    """The transport (the HTTP client) asked for the request body too late to send the body.

    The body is not passed to the transport in these cases:

    - Too much time has passed since the database allowed the attempt.
    - The request has ended, or its body was already passed to the transport.
    """


class GatedBody(httpx.AsyncByteStream):
    """A request body that is passed to the transport in one piece, unless it is too late to send.

    The process may be suspended after the gate (the SQL statement that allowed the attempt). If too
    much time has passed since the gate, the body is not passed on. Then the message is not sent,
    because the provider cannot accept a request without its body.
    """

    def __init__(
        self,
        content: bytes,
        gate: GateClock,
        *,
        call_start: float = CALL_START_SECONDS,
    ) -> None:
        self._content = content
        self._gate = gate
        self._call_start = call_start
        self._is_closed = False
        self.was_handed_out = False
        self.was_too_late = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the whole body in one piece.

        Raises:
            BodyTooLateError: More than ``call_start`` seconds have passed since the gate (the SQL
                statement that allowed the attempt). Or the request has ended, or the body was
                already yielded.
        """
        if self._is_closed or self.was_handed_out:
            raise BodyTooLateError("the request has ended")
        await failpoints.reach("call.before_body")
        if self._gate.elapsed() > self._call_start:
            self.was_too_late = True
            raise BodyTooLateError(
                "the message was not sent: too much time has passed since the check that allowed it"
            )
        self.was_handed_out = True
        yield self._content
        await failpoints.reach("call.body_out")

    def close(self) -> None:
        """Close the request body, so that reading it raises ``BodyTooLateError``."""
        self._is_closed = True


async def send_once(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    body: GatedBody,
    *,
    call_timeout: float,
) -> SendResponse:
    """Send the request once and return its result; a failure is returned, not raised.

    Args:
        transport: Sends the request. An ``AsyncClient`` is not allowed, because it could follow
            redirects, or add cookies and authentication.
        call_timeout: Seconds from the wait for a connection to the last byte of the response.

    Raises:
        asyncio.CancelledError: The task was cancelled; it is unknown whether the message was sent.
    """
    # A success status means "accepted", even if the response's body cannot be read to its end.
    is_success = False
    try:
        async with asyncio.timeout(call_timeout):
            response = await transport.handle_async_request(request)
            response.request = request
            is_success = response.is_success
            response = await _read(response)
        if body.was_too_late:
            # The provider responded when it had received only the headers of the request, for
            # example with status 400 or 408.
            return _failed(body, "too_late", "OpenPhone responded before it had the request body.")
        return classify_send_response(response)
    except TimeoutError:
        detail = f"OpenPhone did not respond within {call_timeout:g} s."
        return _failed(body, "timeout", detail, no_id=is_success)
    except Exception as error:  # noqa: BLE001 - every error of the transport is an outcome
        detail = f"{type(error).__name__}: {error}"
        return _failed(body, "transport", detail, no_id=is_success)
    finally:
        body.close()


async def _read(response: httpx.Response) -> httpx.Response:
    """Read the body of the response; if it is too long, return only status and headers."""
    try:
        return await read_bounded(response, most=MOST_BYTES_OF_SEND)
    except ResponseTooLongError:
        return httpx.Response(response.status_code, headers=response.headers)


def _failed(body: GatedBody, code: str, detail: str, *, no_id: bool = False) -> SendResponse:
    detail = without_numbers(detail)
    if body.was_too_late:
        return SendResponse(kind=ResponseKind.TOO_LATE, code="too_late", detail=detail)
    if not body.was_handed_out:
        return SendResponse(kind=ResponseKind.NOT_CONNECTED, code="not_connected", detail=detail)
    return SendResponse(kind=ResponseKind.UNCLEAR, code=code, detail=detail, no_id=no_id)
