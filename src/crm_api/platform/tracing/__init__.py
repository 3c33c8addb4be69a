"""Record OpenTelemetry traces of requests, of the jobs that they cause, and of provider requests.

Without a collector, no trace is recorded, the SDK is not imported, and ``span`` takes about 1 µs.
URLs and SQL texts are left out, because they may contain a phone number.

Source: OpenTelemetry semantic conventions 1.44.0 ("HTTP spans", "Database client spans", "Messaging
spans"), read 2026-11-26.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# ``logs`` imports this module. So an import of SQLAlchemy here would slow down commands that do not
# need SQLAlchemy.
if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

NAME: Final = "crm-api"
CLOSE_SECONDS = 3.0
"""Time limit in seconds for sending the remaining spans of traces when a process ends."""

Attributes = Mapping[str, str | int | bool]
_NOTHING: Attributes = {}
NO_SPAN: Final[AbstractContextManager[Span]] = nullcontext(trace.INVALID_SPAN)
"""Context manager that is used instead of a span when tracing is off. It records nothing."""
_PROPAGATOR = TraceContextTextMapPropagator()
_FIELD = "traceparent"
_provider: "TracerProvider | None" = None


@contextmanager
def traced(endpoint: str | None, *, process: str) -> Iterator[None]:
    """Record traces until the block ends, then send the remaining spans.

    Args:
        endpoint: URL of the collector, which takes OTLP over HTTP; None records no traces.
        process: Name of this process: ``serve``, ``worker`` or ``sandbox``.
    """
    # This module stores the provider itself. The OpenTelemetry API also has a global provider, but
    # it can be set only once per process.
    global _provider  # noqa: PLW0603 - like the log, one per process
    if endpoint is not None:
        from crm_api.platform.tracing.export import open_provider  # noqa: PLC0415 - takes a second, so only if needed

        _provider = open_provider(endpoint, process=process)
    try:
        yield
    finally:
        stop()


def stop() -> None:
    """Send the remaining spans and turn tracing off.

    ``traced`` calls this function when its block ends. A process that exits inside the block must
    call this function before it exits.
    """
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        # The SDK would wait for half a minute. So the shutdown runs in a thread, and the process
        # waits for this thread only for a shorter time.
        closing = threading.Thread(target=provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def is_on() -> bool:
    """Return True in a ``traced`` block that has a collector, until ``stop`` is called."""
    return _provider is not None


def span(
    name: str,
    *,
    kind: SpanKind,
    attributes: Attributes = _NOTHING,
    parent: str | None = None,
    is_inner: bool = False,
) -> AbstractContextManager[Span]:
    """Record the block as a span; an exception that leaves the block marks the span as failed.

    Args:
        name: Name of the span, without ids: the number of different names must be small.
        attributes: Attributes that are known when the span begins.
        parent: A ``traceparent`` from another process; None uses the current span as parent.
        is_inner: True records the span only if there is a current span, which becomes its parent.
    """
    if _provider is None or (is_inner and ids() is None):
        return NO_SPAN
    return _written(_provider.get_tracer(NAME), name, kind, attributes, parent)


@contextmanager
def _written(
    tracer: trace.Tracer, name: str, kind: SpanKind, attributes: Attributes, parent: str | None
) -> Iterator[Span]:
    with tracer.start_as_current_span(
        name,
        context=None if parent is None else _PROPAGATOR.extract({_FIELD: parent}),
        kind=kind,
        attributes=attributes,
        # OpenTelemetry must not record exceptions, because their messages may contain personal
        # data. The code below records only the class of an exception.
        record_exception=False,
        set_status_on_exception=False,
    ) as written:
        try:
            yield written
        except BaseException as error:
            fail(written, type(error).__name__)
            raise


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed; ``kind`` is the name of an error class, never an error message."""
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR)


def within(traceparent: str | None) -> AbstractContextManager[None]:
    """Use ``traceparent``, a span of another process, as the parent of the spans in the block.

    If ``traceparent`` is None, or if tracing is off, the block has no effect on the spans.
    """
    if _provider is None or traceparent is None:
        return nullcontext()
    return _continued(traceparent)


@contextmanager
def _continued(traceparent: str) -> Iterator[None]:
    token = context.attach(_PROPAGATOR.extract({_FIELD: traceparent}))
    try:
        yield
    finally:
        context.detach(token)


def traceparent() -> str | None:
    """Return the current span in W3C Trace Context format; None if no span is active."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_FIELD)


def ids() -> tuple[str, str] | None:
    """Return the ids of the current trace and span; None if there is no current span."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)


def watch(engine: "AsyncEngine") -> None:
    """If tracing is on, record each SQL statement of the engine as a span."""
    if _provider is not None:
        from crm_api.platform.tracing.statements import watch_statements  # noqa: PLC0415 - needs SQLAlchemy

        watch_statements(engine, _provider.get_tracer(NAME))
