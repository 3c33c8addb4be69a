"""Each call to the provider: measured, told in the log and the trace, below everything else."""

import asyncio
import logging
import re
import time
from contextlib import AbstractContextManager

import httpx
import structlog

from crm_api import instruments, tracing
from crm_api.tracing import Span

log = structlog.get_logger()
_level = logging.getLogger(__name__)

_FIXED = re.compile(r"v\d+|[a-z-]+")
"""A part of a path that is no id; the provider's ids have capitals or digits."""
_REFUSED = 400
_THROTTLED = 429
_TIMEOUTS = (httpx.TimeoutException, TimeoutError, asyncio.CancelledError)
"""Cancelled as well: that is how the time-out of a whole call ends it."""


class ObservedTransport(httpx.AsyncBaseTransport):
    """Passes every call on, and tells how it went until its answer began: never a body.

    It is a line of the log and a step of the trace.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, is_ours: bool) -> None:
        """Take what calls.

        Args:
            inner: Calls.
            is_ours: The provider is a process of this service, the sandbox, and goes on with the
                trace. Anybody else would learn of it what is none of theirs.
        """
        self._inner = inner
        self._is_ours = is_ours

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call once."""
        begun = time.perf_counter()
        with _step(request) as span:
            step = tracing.traceparent() if self._is_ours else None
            if step is not None:
                request.headers["traceparent"] = step
            try:
                response = await self._inner.handle_async_request(request)
            except BaseException as error:
                # An answer that never comes ends in many an error: the class says too much.
                outcome = "timeout" if isinstance(error, _TIMEOUTS) else "no_answer"
                _measure(request, begun, outcome)
                _tell(request, begun, error=type(error).__name__)
                raise
            status = response.status_code
            _measure(request, begun, "429" if status == _THROTTLED else f"{status // 100}xx")
            _tell(request, begun, status=status)
            span.note({"http.response.status_code": status})
            if status >= _REFUSED:
                span.fail(str(status))
        return response

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()


def template_of(request: httpx.Request) -> str:
    """Return the path of a call without the ids in it: ``/v1/messages/{id}``."""
    # Not decoded: a slash within an id is no place to divide.
    path = request.url.raw_path.decode("ascii").partition("?")[0]
    parts = path.strip("/").split("/")
    return "/" + "/".join(part if _FIXED.fullmatch(part) else "{id}" for part in parts)


def _measure(request: httpx.Request, begun: float, outcome: str) -> None:
    operation = f"{request.method} {template_of(request)}"
    seconds = time.perf_counter() - begun
    instruments.PROVIDER_CALLS.labels(operation, outcome).observe(seconds)


def _step(request: httpx.Request) -> AbstractContextManager[Span]:
    if not tracing.is_on():
        return tracing.UNWRITTEN
    url, template = request.url, template_of(request)
    return tracing.span(
        f"{request.method} {template}",
        kind="client",
        attributes={
            "http.request.method": request.method,
            "url.template": template,
            "server.address": url.host,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
        },
    )


def _tell(
    request: httpx.Request, begun: float, *, status: int | None = None, error: str | None = None
) -> None:
    """Write the line: a failure is a warning, all else is for looking closely."""
    is_failure = error is not None or (status or 0) >= _REFUSED
    if not is_failure and not _level.isEnabledFor(logging.DEBUG):
        return  # before anything is put together: a full line of texts makes many calls
    log.log(
        logging.WARNING if is_failure else logging.DEBUG,
        "provider call",
        method=request.method,
        path=template_of(request),
        status=status,
        error=error,
        duration_ms=round((time.perf_counter() - begun) * 1000, 2),
    )
