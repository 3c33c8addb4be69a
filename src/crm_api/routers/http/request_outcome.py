"""Collect the outcome of a request; at its end, write one log line and one trace span."""

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span, SpanKind
from starlette.types import Message, Scope

from crm_api.platform import instruments, logs, tracing

log = logging.getLogger(__name__)

OUTCOME = "crm.outcome"
"""Key in the ASGI scope under which the ``RequestOutcome`` of the request is stored."""
UNMATCHED = "unmatched"
"""The route that a log line shows if no route matches the path. The path is not logged, because it
may contain personal data."""
POLLED = frozenset({"/healthz", "/readyz", "/metrics"})
_FAILURE = 500


@dataclass(kw_only=True)
class RequestOutcome:
    """The outcome of a request. It is filled in while the request runs.

    Attributes:
        route: Path template of the route, such as ``/v1/contacts/{contact_id}``.
        caller: The id of the API key or user; None if it is unknown.
        status: Status of the response; None if no response was sent.
        sent_bytes: Size of the response body in bytes.
        is_broken: True if the response began but an error ended it.
        seconds: Duration of the whole request.
        answered_after: Seconds until the response began.
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
        """Add 1 to the number of requests in progress. The method ``end()`` subtracts 1."""
        instruments.UNDER_WAY.count += 1

    def note(self, message: Message) -> None:
        """Record one ASGI message of the response.

        The first message contains the status. Each later message adds its bytes to ``sent_bytes``.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_after = time.perf_counter() - self._begun
        else:
            self.sent_bytes += len(message.get("body", b""))

    def end(self, scope: Scope) -> None:
        """Record duration and route at the end of the request, and update the metrics."""
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

    def report(self, span: Span, request_id: str, *, shown_id: str) -> None:
        """Write the log line of the request, and add the outcome to its trace span.

        Args:
            span: The trace span of the request.
            request_id: The id of the request.
            shown_id: The same id, without personal data, for the log line.
        """
        self.write_line(shown_id)
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

    def write_line(self, shown_id: str) -> None:
        """Write the log line of the request.

        The level is warning for a server error, debug for health checks and metrics, else info.

        Args:
            shown_id: The id of the request, without personal data.
        """
        fields: dict[str, Any] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "duration_ms": round(self.seconds * 1000, 2),
            "bytes": self.sent_bytes,
            "caller": self.caller,
            "request_id": shown_id,
        }
        if self.is_broken or (self.status or 0) >= _FAILURE:
            level = logging.WARNING
        else:
            level = logging.DEBUG if self.route in POLLED else logging.INFO
        logs.write(log, level, "request finished", fields)


def route_of(scope: Scope) -> str:
    """Return the path template of a request's route, such as ``/v1/contacts/{contact_id}``.

    The template is also stored for the log line of the request.

    Args:
        scope: The ASGI scope in which the framework stored the route. If a middleware gave the
            framework a copy of the scope, pass the copy.
    """
    found: str | None = getattr(scope.get("route"), "path_format", None)
    outcome: RequestOutcome | None = scope.get(OUTCOME)
    if outcome is None:
        return found or UNMATCHED
    if found is not None:
        outcome.route = found
    return outcome.route


def step_of(scope: Scope) -> AbstractContextManager[Span]:
    """Return a context manager that records the trace span of a request.

    If the request has the header ``traceparent``, the span belongs to the trace in this header. If
    not, the span begins a new trace. Health checks and metrics get no span. The span contains the
    path template, but not the path, because a path may contain a phone number.
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
    """Return the first value of a request header as bytes; empty if the request lacks it."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")
