"""Record the SQL statements of an engine as spans, by verb and table name.

The text and the parameters of a statement are not recorded, because they may be personal data.
"""

import re
from functools import lru_cache
from typing import Any

from opentelemetry import trace
from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

MOST_STATEMENTS = 2_000
_UNDER_WAY = "crm.spans"
_WRITE = re.compile(
    r"\b(INSERT)\s+INTO\s+\"?(\w+)|\b(DELETE)\s+FROM\s+\"?(\w+)"
    r"|(?<!FOR )(?<!KEY )(?<!DO )\b(UPDATE)\s+(?:ONLY\s+)?\"?(\w+)",
    re.IGNORECASE,
)
_READ = re.compile(r"\bFROM\s+\"?(\w+)(?!\w)(?!\s*\()", re.IGNORECASE)


def watch_statements(engine: AsyncEngine, tracer: trace.Tracer) -> None:
    """Record a span for each SQL statement that runs while another span is being recorded.

    The other span is, for example, the span of a request or a job. A statement outside of requests
    and jobs, such as a heartbeat, is not recorded.
    """

    def begin(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        span: trace.Span = trace.INVALID_SPAN
        if trace.get_current_span().is_recording():
            said = summary(statement)
            span = tracer.start_span(
                said,
                kind=trace.SpanKind.CLIENT,
                attributes={"db.system.name": "postgresql", "db.query.summary": said},
            )
        connection.info.setdefault(_UNDER_WAY, []).append(span)

    def end(connection: Connection, *_: object) -> None:
        _take(connection.info).end()

    def fail(failure: ExceptionContext) -> None:
        if failure.connection is None:
            return
        span = _take(failure.connection.info)
        state = getattr(failure.original_exception, "sqlstate", None)
        if state is not None:
            span.set_attribute("db.response.status_code", state)
        span.set_attribute("error.type", state or type(failure.original_exception).__name__)
        span.set_status(trace.StatusCode.ERROR)
        span.end()

    event.listen(engine.sync_engine, "before_cursor_execute", begin)
    event.listen(engine.sync_engine, "after_cursor_execute", end)
    event.listen(engine.sync_engine, "handle_error", fail)


@lru_cache(MOST_STATEMENTS)
def summary(statement: str) -> str:
    """Return the verb and the table of an SQL statement, such as ``INSERT contact``.

    - If the statement writes, return the verb and the table of each write, in order and without
      repetitions.
    - If the statement only reads from tables, return SELECT and the first table.
    - For any other statement, return only the verb.
    """
    writes = [
        " ".join(part for part in found.groups() if part) for found in _WRITE.finditer(statement)
    ]
    if writes:
        return " ".join(
            dict.fromkeys(f"{one.split()[0].upper()} {one.split()[1]}" for one in writes)
        )
    verb = statement.split(None, 1)[0].upper() if statement.strip() else "SQL"
    if verb == "WITH":
        verb = "SELECT"
    read = _READ.search(statement) if verb == "SELECT" else None
    return f"{verb} {read[1]}" if read else verb


def _take(info: dict[Any, Any]) -> trace.Span:
    under_way: list[trace.Span] = info.get(_UNDER_WAY, [])
    return under_way.pop() if under_way else trace.INVALID_SPAN
