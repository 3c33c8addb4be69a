"""Send spans to the collector in batches, from a background thread of OpenTelemetry's SDK."""

import logging
import os
import socket
import time
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from crm_api.platform.tracing import NAME

log = structlog.get_logger()

SEND_SECONDS = 2.0
"""Time limit in seconds to send one batch of spans, including retries. After this time, the spans
of the batch are dropped."""
QUIET_SECONDS = 60.0
"""Shortest time in seconds between two log lines about dropped spans."""


def open_provider(endpoint: str, *, process: str) -> TracerProvider:
    """Return a tracer provider that sends spans to the collector at ``endpoint``.

    The method ``shutdown`` of the tracer provider sends the remaining spans.
    """
    # OpenTelemetry would log each failed batch of spans. ``_Sender`` logs failures at most once a
    # minute instead.
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
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Sender(endpoint)))
    return provider


class _Sender(SpanExporter):
    """Sends batches of spans to the collector; logs failures at most once a minute."""

    def __init__(self, endpoint: str) -> None:
        self._inner = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_SECONDS
        )
        self._lost = 0
        self._quiet_until = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; if the collector does not accept it, drop its spans."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if time.monotonic() >= self._quiet_until:
                self._quiet_until = time.monotonic() + QUIET_SECONDS
                log.warning("spans dropped because the trace export failed", spans=self._lost)
                self._lost = 0
        return result

    def shutdown(self) -> None:
        """Close the connection to the collector."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # the SDK's method has no types

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the wrapped exporter; this class itself has no buffer."""
        return self._inner.force_flush(timeout_millis)
