"""Traces with OpenTelemetry's SDK: sent in batches by a thread, which nothing waits for."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import structlog
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.tracing import Attributes, Kind, Span, statements

log = structlog.get_logger()

NAME = "crm-api"
SEND_SECONDS = 2.0
"""For one batch, repeats included; what the collector does not take in time is dropped."""
CLOSE_SECONDS = 3.0
"""For all that is left at the end: a collector that is away must not hold up a restart."""
QUIET_SECONDS = 60.0
"""Between two lines that tell of a collector that is away."""

_KINDS = {
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}
_PROPAGATOR = TraceContextTextMapPropagator()
_FIELD = "traceparent"


class SdkTracer:
    """Writes traces of this process until it is closed."""

    def __init__(self, endpoint: str, *, process: str) -> None:
        # What the exporter has to say about each batch, ``_Sender`` says once a minute.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        resource = Resource.create(
            {
                "service.name": NAME,
                "service.version": version(NAME),
                "host.name": socket.gethostname(),
                "process.pid": os.getpid(),
                "crm.process": process,
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Sender(endpoint)))
        self._tracer = self._provider.get_tracer(NAME)

    @contextmanager
    def span(
        self, name: str, *, kind: Kind, attributes: Attributes, parent: str | None, is_inner: bool
    ) -> Iterator[Span]:
        """Make the block a step; see ``tracing.span``."""
        if is_inner and not trace.get_current_span().get_span_context().is_valid:
            yield _Step(trace.INVALID_SPAN)
            return
        with self._tracer.start_as_current_span(
            name,
            context=None if parent is None else _PROPAGATOR.extract({_FIELD: parent}),
            kind=_KINDS[kind],
            attributes=attributes,
            # The message of an exception may name a person: only its class is told.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            step = _Step(span)
            try:
                yield step
            except BaseException as error:
                step.fail(type(error).__name__)
                raise

    @contextmanager
    def within(self, traceparent: str) -> Iterator[None]:
        """Go on with a step from elsewhere; see ``tracing.within``."""
        token = context.attach(_PROPAGATOR.extract({_FIELD: traceparent}))
        try:
            yield
        finally:
            context.detach(token)

    def traceparent(self) -> str | None:
        """Return the step that is under way; see ``tracing.traceparent``."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get(_FIELD)

    def ids(self) -> tuple[str, str] | None:
        """Return the ids of what is under way; see ``tracing.ids``."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return None
        return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)

    def watch(self, engine: AsyncEngine) -> None:
        """Make statements steps; see ``tracing.watch``."""
        statements.watch(engine, self._tracer)

    def close(self) -> None:
        """Send what is left, for as long as that may take."""
        # In a thread, since the SDK's own limit is half a minute.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class _Step:
    """A span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, attributes: Attributes) -> None:
        """Add what has become known."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Name it anew."""
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark it as failed."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.StatusCode.ERROR)


class _Sender(SpanExporter):
    """Sends batches, and tells in the log when that does not work: once a minute, not each time."""

    def __init__(self, endpoint: str) -> None:
        self._inner = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_SECONDS
        )
        self._lost = 0
        self._quiet_until = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; one that is not taken is dropped."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if time.monotonic() >= self._quiet_until:
                self._quiet_until = time.monotonic() + QUIET_SECONDS
                log.warning("traces not taken by the collector; dropped", spans=self._lost)
                self._lost = 0
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # theirs has no types

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)
