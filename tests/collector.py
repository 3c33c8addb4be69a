"""A minimal collector of traces: it receives OTLP over HTTP and stores the spans in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

KINDS = {
    trace_pb2.Span.SPAN_KIND_SERVER: "server",
    trace_pb2.Span.SPAN_KIND_CLIENT: "client",
    trace_pb2.Span.SPAN_KIND_PRODUCER: "producer",
    trace_pb2.Span.SPAN_KIND_CONSUMER: "consumer",
}


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """One span (a timed step of a trace) as the collector received it."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    is_failed: bool

    @property
    def process(self) -> str:
        return str(self.resource["crm.process"])


@dataclass
class Collector:
    """Address of the collector, and the trace spans that it has received until now."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)

    def trace_of(self, request_id: str) -> list[ReceivedSpan]:
        """Return all spans of the trace that the request with this id belongs to."""
        own = [one for one in self.spans if one.attributes.get("crm.request_id") == request_id]
        return [one for one in self.spans if own and one.trace == own[0].trace]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect traces on a free loopback port until the ``with`` block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.spans += _read(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _read(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    kind=KINDS[span.kind],
                    attributes=_values(span.attributes),
                    resource=resource,
                    is_failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                )


def _values(pairs: Any) -> dict[str, Any]:
    found: list[KeyValue] = list(pairs)
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
        for one in found
    }
