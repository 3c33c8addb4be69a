"""Tests of what traces contain. No traced step waits for the collector of the traces."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.collector import collecting

from crm_api.platform import tracing
from crm_api.platform.database import open_engine
from crm_api.platform.tracing.statements import summary

STEP = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
END_LIMIT_SECONDS = 20.0
"""Time limit for the end of a process whose collector does not respond. If each traced step waited
for the collector, the process would take longer."""


@contextmanager
def hanging_collector() -> Iterator[str]:
    """Run a server that accepts connections and sends no response; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_sdk_is_not_imported_without_a_collector() -> None:
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf")
    check = f"import sys; sys.exit(any(name.startswith({heavy}) for name in sys.modules))"

    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", f"import crm_api.cli.serve, crm_api.cli.worker; {check}"],
        check=False,
    )

    assert done.returncode == 0


def test_hanging_collector_delays_no_step_and_the_end_only_briefly() -> None:
    with hanging_collector() as url, structlog.testing.capture_logs():
        begun = time.monotonic()
        with tracing.traced(url, process="serve"):
            # The queue cannot store so many spans.
            for _ in range(5_000):
                with tracing.span("GET /x", kind=SpanKind.SERVER):
                    pass
        took = time.monotonic() - begun

    assert took < END_LIMIT_SECONDS


def test_unreachable_collector_gives_one_log_line_for_all_batches() -> None:
    with (
        structlog.testing.capture_logs() as lines,
        tracing.traced(closed_port(), process="serve"),
    ):
        # These are three batches of spans.
        for _ in range(1_200):
            with tracing.span("GET /x", kind=SpanKind.SERVER):
                pass

    assert [line["event"] for line in lines] == ["spans dropped because the trace export failed"]


def test_failure_is_recorded_only_by_its_class() -> None:
    with (
        collecting() as collector,
        tracing.traced(collector.url, process="worker"),
        pytest.raises(ValueError, match="0123"),
        tracing.span("run x", kind=SpanKind.CONSUMER, parent=STEP),
    ):
        raise ValueError("+16175550123")

    received = collector.spans[0]
    assert (received.is_failed, received.attributes["error.type"]) == (True, "ValueError")
    assert (received.trace, received.parent) == tuple(STEP.split("-")[1:3])
    assert "0123" not in str(received)


async def test_statement_is_a_step_of_its_caller_and_contains_no_value(
    database_url: str,
) -> None:
    with collecting() as collector, tracing.traced(collector.url, process="worker"):
        async with open_engine(database_url) as engine, engine.connect() as connection:
            await connection.execute(text("SELECT 1 FROM pg_class WHERE relname = 'alone'"))
            with tracing.span("run x", kind=SpanKind.CONSUMER):
                sql = text("SELECT relname FROM pg_class WHERE relname = :name")
                await connection.execute(sql, {"name": "+16175550123"})
                with pytest.raises(DBAPIError):
                    await connection.execute(text("SELECT '+16175550123'::int FROM pg_class"))

    received = {one.name: one for one in collector.spans}
    statements = [one for one in collector.spans if one.kind == "client"]
    assert [one.name for one in statements] == ["SELECT pg_class"] * 2
    assert {one.parent for one in statements} == {received["run x"].id}
    assert [one.attributes.get("db.response.status_code") for one in statements] == [None, "22003"]
    assert "0123" not in str(collector.spans)


@pytest.mark.parametrize(
    ("statement", "summary_text"),
    [
        ("SELECT a FROM contact WHERE id = $1 FOR UPDATE SKIP LOCKED", "SELECT contact"),
        ("SELECT pg_advisory_xact_lock($1)", "SELECT"),
        ("INSERT INTO contact (a) VALUES ($1) ON CONFLICT DO UPDATE SET a = 1", "INSERT contact"),
        ("UPDATE contact SET a = $1 FROM unnest($2::uuid[]) AS t", "UPDATE contact"),
        ("delete from contact", "DELETE contact"),
        ("WITH x AS (SELECT * FROM unnest($1)) SELECT * FROM x JOIN contact", "SELECT x"),
        (
            "WITH a AS (INSERT INTO send_attempt SELECT 1 FROM c) UPDATE campaign SET d = 2",
            "INSERT send_attempt UPDATE campaign",
        ),
        ("COPY contact FROM STDIN", "COPY"),
    ],
)
def test_statement_is_named_by_its_operation_and_table(statement: str, summary_text: str) -> None:
    assert summary(statement) == summary_text
