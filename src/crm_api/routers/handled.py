"""How a request went: looked at once, when it is over, for its line and its step of the trace."""

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Scope

from crm_api import instruments, logs, tracing
from crm_api.tracing import Span

log = logging.getLogger(__name__)

HANDLED = "crm.handled"
"""The name in the request's scope."""
UNMATCHED = "unmatched"
"""The route of a request that has none: what was asked for may be anything, so it is not told."""
POLLED = frozenset({"/healthz", "/readyz", "/metrics"})
_FAILURE = 500


@dataclass(kw_only=True)
class Handled:
    """A request, filled in as it becomes known.

    Attributes:
        route: Its path with the names of the ids instead of the ids.
        caller: The id of the key or the user.
        status: None when nothing was answered: the caller hung up, or the process stopped.
        sent_bytes: The body of the answer.
        answered_after: Seconds until the answer began; a stream goes on after that.
        is_broken: The answer had begun and could not be ended.
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
        """Count it among those under way, until its end."""
        instruments.UNDER_WAY.count += 1

    def note(self, message: Message) -> None:
        """Take what a message of the answer tells."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_after = time.perf_counter() - self._begun
        else:
            self.sent_bytes += len(message.get("body", b""))

    def end(self, scope: Scope) -> None:
        """Take the time, and the route that was found."""
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

    def tell(self, span: Span, request_id: str) -> None:
        """Write the request's line, and end its step of the trace with what it came to."""
        self._log(request_id)
        if not tracing.is_on():
            return
        span.note({"crm.request_id": request_id})
        if self.caller is not None:
            span.note({"crm.caller": self.caller})
        if self.route != UNMATCHED:
            span.rename(f"{self.method} {self.route}")
            span.note({"http.route": self.route})
        if self.status is not None:
            span.note({"http.response.status_code": self.status})
            if self.status >= _FAILURE:
                span.fail(str(self.status))

    def _log(self, request_id: str) -> None:
        """Write the one line; of a poll only when it fails, or at level debug."""
        told: dict[str, Any] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "duration_ms": round(self.seconds * 1000, 2),
            "bytes": self.sent_bytes,
            "caller": self.caller,
            # The only one that comes from outside.
            "request_id": logs.mask_text(request_id),
        }
        if self.is_broken or (self.status or 0) >= _FAILURE:
            level = logging.WARNING
        else:
            level = logging.DEBUG if self.route in POLLED else logging.INFO
        logs.write(log, level, "request", told)


def route_of(scope: Scope) -> str:
    """Return a request's route, and keep it for the line.

    Called with each copy that was made of a scope: the framework writes the route into the copy.
    """
    found: str | None = getattr(scope.get("route"), "path_format", None)
    handled: Handled | None = scope.get(HANDLED)
    if handled is None:
        return found or UNMATCHED
    if found is not None:
        handled.route = found
    return handled.route


def step_of(scope: Scope) -> AbstractContextManager[Span]:
    """Make a request a step of its caller's trace, or the first of a new one; not so a poll.

    Its address is not told: a number may stand in it, and ``http.route`` says what was asked.
    """
    if not tracing.is_on() or scope["path"] in POLLED:
        return tracing.UNWRITTEN
    return tracing.span(
        scope["method"],
        kind="server",
        attributes={"http.request.method": scope["method"], "url.scheme": scope["scheme"]},
        parent=header(scope, b"traceparent").decode("latin-1") or None,
    )


def header(scope: Scope, wanted: bytes) -> bytes:
    """Return a field of the request; nothing when it is not there."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")
