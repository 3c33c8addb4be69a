"""Traces by OpenTelemetry: one of a request, its jobs and the provider's calls.

They are written when there is a collector to send them to; without one the SDK is not even
imported, and every function here returns at once.

Names follow OpenTelemetry's semantic conventions 1.44.0 ("HTTP spans", "Database client spans",
"Messaging spans", read 2026-11-26), with one thing left out: addresses and the text of statements
(``url.full``, ``url.path``, ``db.query.text``), since a person's number may stand in them.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:  # the log imports this module, and not every command has a database
    from sqlalchemy.ext.asyncio import AsyncEngine

Kind = Literal["server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | bool]


class Span(Protocol):
    """One step of a trace, while it lasts."""

    def note(self, attributes: Attributes) -> None:
        """Add what has become known."""

    def rename(self, name: str) -> None:
        """Name it by what has become known."""

    def fail(self, kind: str) -> None:
        """Say that it failed: a class of error, never its message."""


class Tracer(Protocol):
    """What writes traces; ``tracing.sdk`` has it."""

    def span(
        self, name: str, *, kind: Kind, attributes: Attributes, parent: str | None, is_inner: bool
    ) -> AbstractContextManager[Span]:
        """As the function of this name."""

    def within(self, traceparent: str) -> AbstractContextManager[None]:
        """As the function of this name."""

    def traceparent(self) -> str | None:
        """As the function of this name."""

    def ids(self) -> tuple[str, str] | None:
        """As the function of this name."""

    def watch(self, engine: "AsyncEngine") -> None:
        """As the function of this name."""

    def close(self) -> None:
        """Send what is left."""


class _Unwritten:
    """A span while nothing is traced."""

    def note(self, attributes: Attributes) -> None:
        """Forget it."""

    def rename(self, name: str) -> None:
        """Forget it."""

    def fail(self, kind: str) -> None:
        """Forget it."""


_NOTHING: Attributes = {}
UNWRITTEN: Final[AbstractContextManager[Span]] = nullcontext(_Unwritten())
"""A step that is not written."""
_WITHIN_NOTHING: Final[AbstractContextManager[None]] = nullcontext()
_tracer: Tracer | None = None


@contextmanager
def traced(endpoint: str | None, *, process: str) -> Iterator[None]:
    """Write traces for the length of a block; at its end what is left is sent.

    Args:
        endpoint: The collector, for OTLP over HTTP; None writes none.
        process: What this process is: ``serve``, ``worker`` or ``sandbox``.
    """
    global _tracer  # noqa: PLW0603 - like the log, it is one for a process
    if endpoint is not None:
        from crm_api.tracing.sdk import SdkTracer  # noqa: PLC0415 - a second, for who wants it

        _tracer = SdkTracer(endpoint, process=process)
    try:
        yield
    finally:
        stop()


def stop() -> None:
    """Send what is left, and write nothing more; as the end of ``traced``, where that is late."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.close()


def is_on() -> bool:
    """True when traces are written."""
    return _tracer is not None


def span(
    name: str,
    *,
    kind: Kind,
    attributes: Attributes = _NOTHING,
    parent: str | None = None,
    is_inner: bool = False,
) -> AbstractContextManager[Span]:
    """Make the block a step of the trace; an exception out of it is its failure.

    Args:
        name: Few different ones: templates, never ids.
        kind: Which side of what it is.
        attributes: What is known when it begins.
        parent: A ``traceparent`` from elsewhere; None goes on with the step that is under way.
        is_inner: Nothing is written unless a step is under way.
    """
    if _tracer is None:
        return UNWRITTEN
    return _tracer.span(name, kind=kind, attributes=attributes, parent=parent, is_inner=is_inner)


def within(traceparent: str | None) -> AbstractContextManager[None]:
    """Let steps in the block belong to one that is elsewhere; None changes nothing."""
    if _tracer is None or traceparent is None:
        return _WITHIN_NOTHING
    return _tracer.within(traceparent)


def traceparent() -> str | None:
    """Return the step that is under way as W3C's trace context names it."""
    return None if _tracer is None else _tracer.traceparent()


def ids() -> tuple[str, str] | None:
    """Return the ids of the trace and the step that are under way."""
    return None if _tracer is None else _tracer.ids()


def watch(engine: "AsyncEngine") -> None:
    """Make each statement of an engine a step of the trace that it belongs to."""
    if _tracer is not None:
        _tracer.watch(engine)
