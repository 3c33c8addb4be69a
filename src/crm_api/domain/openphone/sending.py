"""One send: the body that looks at the clock, and the call around it.

Whether a request that failed can have sent a text is known in one way only: was its body handed
out? Error classes do not tell. Through the aiohttp transport a connection that the provider
closes *after* it has the whole request is raised as ``ConnectTimeout``, just as a refused one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Self

import httpx

from crm_api import failpoints
from crm_api.domain.openphone.answers import AnswerKind, SendAnswer, classify
from crm_api.domain.openphone.json_values import without_numbers
from crm_api.setting_fields import CALL_START_SECONDS


@dataclass(frozen=True)
class GateClock:
    """When the gate's statement was about to be sent, by both clocks.

    The monotonic one stands still while a machine sleeps; the wall clock may be set.
    """

    monotonic: float
    wall: float

    @classmethod
    def start(cls) -> Self:
        """Take the time; called before the gate's statement, never after it."""
        return cls(time.monotonic(), time.time())

    def elapsed(self) -> float:
        """Return the seconds since, by the clock that says more."""
        return max(time.monotonic() - self.monotonic, time.time() - self.wall)


class BodyTooLateError(Exception):
    """The body was asked for too long after the gate, or after the call had ended."""


class GatedBody:
    """A request body that is handed out whole and in time, or not at all.

    A request without its body cannot be accepted, so a late process withholds it, however long
    it stood still between the gate and the socket.
    """

    def __init__(
        self,
        content: bytes,
        gate: GateClock,
        *,
        elapsed: Callable[[GateClock], float] = GateClock.elapsed,
    ) -> None:
        self._content = content
        self._gate = gate
        self._elapsed = elapsed
        self._is_closed = False
        self.was_handed_out = False
        self.was_too_late = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield everything at once.

        Raises:
            BodyTooLateError: More than ``CALL_START_SECONDS`` since the gate, or closed.
        """
        if self._is_closed or self.was_handed_out:
            raise BodyTooLateError("the call has ended")
        await failpoints.reach("call.before_body")
        if self._elapsed(self._gate) > CALL_START_SECONDS:
            self.was_too_late = True
            raise BodyTooLateError("too long since the gate")
        self.was_handed_out = True
        yield self._content
        await failpoints.reach("call.body_out")

    def close(self) -> None:
        """Withhold the body from now on: nobody waits for this call any more."""
        self._is_closed = True


async def call(
    http: httpx.AsyncClient, request: httpx.Request, body: GatedBody, *, call_timeout: float
) -> SendAnswer:
    """Send once and tell how it ended; failures are answers, not exceptions.

    Args:
        call_timeout: Seconds for everything, from the pool to the last byte of the answer.

    Raises:
        asyncio.CancelledError: The task was cancelled. The outcome is then unknown to
            everybody: the attempt stays as it is and is settled as unclear.
    """
    try:
        async with asyncio.timeout(call_timeout):
            response = await http.send(request, follow_redirects=False)
        if body.was_too_late:
            # An answer to headers alone, for example 400 or 408: no text was in it.
            return _failed(body, "too_late", "Answered without the body.")
        return classify(response)
    except TimeoutError:
        return _failed(body, "timeout", f"No answer within {call_timeout:g} s.")
    except Exception as error:  # noqa: BLE001 - an outcome is owed whatever the transport raises
        return _failed(body, "transport", f"{type(error).__name__}: {error}")
    finally:
        body.close()


def _failed(body: GatedBody, code: str, detail: str) -> SendAnswer:
    detail = without_numbers(detail)
    if body.was_too_late:
        return SendAnswer(kind=AnswerKind.TOO_LATE, code="too_late", detail=detail)
    if not body.was_handed_out:
        return SendAnswer(kind=AnswerKind.NOT_CONNECTED, code="not_connected", detail=detail)
    return SendAnswer(kind=AnswerKind.UNCLEAR, code=code, detail=detail)
