"""OpenTelemetry traces: one per request, with its jobs and the provider's calls.

Traces are written if a collector is set. Without one the SDK is not even imported, and a span costs
about a microsecond; a no-op span of the API costs six.

Names follow OpenTelemetry's semantic conventions 1.44.0 ("HTTP spans", "Database client spans",
"Messaging spans", read 2026-11-26), with one omission: addresses and the text of statements
(``url.full``, ``url.path``, ``db.query.text``), because they may contain a phone number.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:  # the log imports this module, and not every command needs a database
    from opentelemetry.sdk.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

NAME: Final = "crm-api"
CLOSE_SECONDS = 3.0
"""Limit for all remaining batches at the end: a missing collector must not delay a restart."""

Attributes = Mapping[str, str | int | bool]
_NOTHING: Attributes = {}
NO_SPAN: Final[AbstractContextManager[Span]] = nullcontext(trace.INVALID_SPAN)
"""A span that is not written."""
_PROPAGATOR = TraceContextTextMapPropagator()
_FIELD = "traceparent"
_provider: "TracerProvider | None" = None


@contextmanager
def traced(endpoint: str | None, *, process: str) -> Iterator[None]:
    """Write traces until the block ends, then send the remaining ones.

    Args:
        endpoint: The collector, for OTLP over HTTP; None writes none.
        process: Name of this process: ``serve``, ``worker`` or ``sandbox``.
    """
    # The API's own global provider can be set only once per process.
    global _provider  # noqa: PLW0603 - like the log, one per process
    if endpoint is not None:
        from crm_api.platform.tracing.export import open_provider  # noqa: PLC0415 - takes a second, so only if needed

        _provider = open_provider(endpoint, process=process)
    try:
        yield
    finally:
        stop()


def stop() -> None:
    """Send the remaining traces and stop writing; for processes that end inside the block."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        # In a thread, because the SDK's own limit is half a minute.
        closing = threading.Thread(target=provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def is_on() -> bool:
    """Return True if tracing is on."""
    return _provider is not None


def span(
    name: str,
    *,
    kind: SpanKind,
    attributes: Attributes = _NOTHING,
    parent: str | None = None,
    is_inner: bool = False,
) -> AbstractContextManager[Span]:
    """Make the block a span; an exception out of it marks the span as failed.

    Args:
        name: From a small set: templates, never ids.
        kind: Side of the communication.
        attributes: Attributes known at the beginning.
        parent: A ``traceparent`` from another process; None continues the current span.
        is_inner: Write nothing unless a span is open.
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
        # The message of an exception may contain personal data, so only its class is written.
        record_exception=False,
        set_status_on_exception=False,
    ) as written:
        try:
            yield written
        except BaseException as error:
            fail(written, type(error).__name__)
            raise


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed; ``kind`` is an error class, never a message."""
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR)


def within(traceparent: str | None) -> AbstractContextManager[None]:
    """Make the spans in the block children of a span elsewhere; None changes nothing."""
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
    """Return the current span in W3C Trace Context format; None if there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_FIELD)


def ids() -> tuple[str, str] | None:
    """Return the ids of the current trace and span; None if there is none."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)


def watch(engine: "AsyncEngine") -> None:
    """Write each statement of an engine as a span of its trace."""
    if _provider is not None:
        from crm_api.platform.tracing.statements import watch_statements  # noqa: PLC0415 - needs SQLAlchemy

        watch_statements(engine, _provider.get_tracer(NAME))
