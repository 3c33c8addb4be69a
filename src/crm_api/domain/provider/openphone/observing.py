"""Measure, log and trace each API request to the provider, in the HTTP transport."""

import asyncio
import logging
import re
import time
from contextlib import AbstractContextManager
from functools import lru_cache

import httpx
import structlog
from opentelemetry.trace import Span, SpanKind

from crm_api.platform import instruments, tracing

log = structlog.get_logger()
_level = logging.getLogger(__name__)

_FIXED = re.compile(r"v\d+|[a-z-]+")
"""Matches a segment of a URL path that is not an id. The provider's ids have capitals or digits."""
_REFUSED = 400
_THROTTLED = 429
_TIMEOUTS = (httpx.TimeoutException, TimeoutError, asyncio.CancelledError)
"""The exceptions that are recorded as a timeout. Cancellation is one of them, because the time
limit of a whole request cancels the request."""


class ObservedTransport(httpx.AsyncBaseTransport):
    """Forwards every request, and records it as a log line, a trace span and a measurement.

    The recorded duration ends when the headers of the response have arrived. Bodies are never
    recorded.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, is_ours: bool) -> None:
        """Wrap a transport.

        Args:
            inner: Sends the requests.
            is_ours: True if the provider is the sandbox. The sandbox is a process of this service,
                so it gets a trace header and continues the trace. The real provider gets no trace
                header, because the header would disclose our trace ids.
        """
        self._inner = inner
        self._is_ours = is_ours

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and record it; an error is recorded and raised again."""
        begun = time.perf_counter()
        with _step(request) as span:
            step = tracing.traceparent() if self._is_ours else None
            if step is not None:
                request.headers["traceparent"] = step
            try:
                response = await self._inner.handle_async_request(request)
            except BaseException as error:
                # In metrics, every error without a response has one of two outcomes: `timeout` or
                # `no_answer`.
                outcome = "timeout" if isinstance(error, _TIMEOUTS) else "no_answer"
                _measure(request, begun, outcome)
                _log_call(request, begun, error=type(error).__name__)
                raise
            status = response.status_code
            _measure(request, begun, "429" if status == _THROTTLED else f"{status // 100}xx")
            _log_call(request, begun, status=status)
            span.set_attribute("http.response.status_code", status)
            if status >= _REFUSED:
                tracing.fail(span, str(status))
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def path_template(request: httpx.Request) -> str:
    """Return the path of a request with its ids replaced, for example ``/v1/messages/{id}``."""
    # Use the raw path, because an encoded slash inside an id does not separate parts.
    return _template(request.url.raw_path.partition(b"?")[0])


@lru_cache(maxsize=64)
def _template(path: bytes) -> str:
    """Return the template of a path; cached, because most requests have the same path."""
    parts = path.decode("ascii").strip("/").split("/")
    return "/" + "/".join(part if _FIXED.fullmatch(part) else "{id}" for part in parts)


def _measure(request: httpx.Request, begun: float, outcome: str) -> None:
    operation = f"{request.method} {path_template(request)}"
    seconds = time.perf_counter() - begun
    instruments.PROVIDER_CALLS.labels(operation, outcome).observe(seconds)


def _step(request: httpx.Request) -> AbstractContextManager[Span]:
    if not tracing.is_on():
        return tracing.NO_SPAN
    url, template = request.url, path_template(request)
    return tracing.span(
        f"{request.method} {template}",
        kind=SpanKind.CLIENT,
        attributes={
            "http.request.method": request.method,
            "url.template": template,
            "server.address": url.host,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
        },
    )


def _log_call(
    request: httpx.Request, begun: float, *, status: int | None = None, error: str | None = None
) -> None:
    """Log a failed request at level warning, and every other request at level debug."""
    is_failure = error is not None or (status or 0) >= _REFUSED
    if not is_failure and not _level.isEnabledFor(logging.DEBUG):
        return  # without the other log values, because a busy line makes many requests
    log.log(
        logging.WARNING if is_failure else logging.DEBUG,
        "provider request failed" if is_failure else "provider request completed",
        method=request.method,
        path=path_template(request),
        status=status,
        error=error,
        duration_ms=round((time.perf_counter() - begun) * 1000, 2),
    )
