"""The outcome of a request, reported once at its end as a log line and a trace span."""

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span, SpanKind
from starlette.types import Message, Scope

from crm_api.platform import instruments, logs, tracing

log = logging.getLogger(__name__)

HANDLED = "crm.handled"
"""The key in the ASGI scope."""
UNMATCHED = "unmatched"
"""The route of a request without one. Its path is not logged, because it may contain anything."""
POLLED = frozenset({"/healthz", "/readyz", "/metrics"})
_FAILURE = 500


@dataclass(kw_only=True)
class Handled:
    """The facts of a request, filled in while it is handled.

    Attributes:
        route: Its path with parameter names instead of ids.
        caller: The id of the key or the user.
        status: None without an answer: the client disconnected, or the process stopped.
        sent_bytes: Size of the answer's body, in bytes.
        answered_after: Seconds until the answer began; a stream continues after that.
        is_broken: True if the answer began but could not be completed.
    """

    method: str
    route: str = UNMATCHED
    caller: str | None = None
    status: int | None = None
    sent_bytes: int = 0
    is_broken: bool = False
    seconds: float = 0.0
    answered_after: float = 0.0
    _begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Count the request as in progress until ``end``."""
        instruments.UNDER_WAY.count += 1

    def note(self, message: Message) -> None:
        """Record the status or the bytes of an answer message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_after = time.perf_counter() - self._begun
        else:
            self.sent_bytes += len(message.get("body", b""))

    def end(self, scope: Scope) -> None:
        """Record the duration and the route."""
        self.seconds = time.perf_counter() - self._begun
        route_of(scope)
        instruments.UNDER_WAY.count -= 1
        if self.status is not None:
            instruments.answered(
                route=self.route,
                method=self.method,
                status=self.status,
                seconds=self.answered_after,
            )

    def report(self, span: Span, request_id: str) -> None:
        """Write the log line of the request, and add its outcome to the span."""
        self._log(request_id)
        if not span.is_recording():
            return
        span.set_attribute("crm.request_id", request_id)
        if self.caller is not None:
            span.set_attribute("crm.caller", self.caller)
        if self.route != UNMATCHED:
            span.update_name(f"{self.method} {self.route}")
            span.set_attribute("http.route", self.route)
        if self.status is not None:
            span.set_attribute("http.response.status_code", self.status)
            if self.status >= _FAILURE:
                tracing.fail(span, str(self.status))

    def _log(self, request_id: str) -> None:
        """Write the log line; a successful poll is logged at level debug."""
        fields: dict[str, Any] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "duration_ms": round(self.seconds * 1000, 2),
            "bytes": self.sent_bytes,
            "caller": self.caller,
            # The only value that the client sets.
            "request_id": logs.mask_text(request_id),
        }
        if self.is_broken or (self.status or 0) >= _FAILURE:
            level = logging.WARNING
        else:
            level = logging.DEBUG if self.route in POLLED else logging.INFO
        logs.write(log, level, "request", fields)


def route_of(scope: Scope) -> str:
    """Return the route of a request, and store it for the log line.

    Call it with each copy of a scope: the framework writes the route into the copy only.
    """
    found: str | None = getattr(scope.get("route"), "path_format", None)
    handled: Handled | None = scope.get(HANDLED)
    if handled is None:
        return found or UNMATCHED
    if found is not None:
        handled.route = found
    return handled.route


def step_of(scope: Scope) -> AbstractContextManager[Span]:
    """Return the span of a request, in the caller's trace or a new one; polls get none.

    The span does not have the path, which may contain a phone number; ``http.route`` names the
    operation.
    """
    if not tracing.is_on() or scope["path"] in POLLED:
        return tracing.NO_SPAN
    return tracing.span(
        scope["method"],
        kind=SpanKind.SERVER,
        attributes={"http.request.method": scope["method"], "url.scheme": scope["scheme"]},
        parent=header(scope, b"traceparent").decode("latin-1") or None,
    )


def header(scope: Scope, wanted: bytes) -> bytes:
    """Return the value of a request header; empty if it was not sent."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")
