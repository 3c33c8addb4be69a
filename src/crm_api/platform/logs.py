"""Format log lines for a terminal or as JSON, and mask secrets and personal data in them.

``mask_text`` defines what is masked: keys and passwords, phone numbers, e-mail addresses, and
values that PostgreSQL and pydantic quote in their error messages.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from crm_api.platform import tracing

MASK = "***"
_SECRET_NAME = re.compile(
    r"(^|[_-])(authorization|cookie|passwords?|passwd|secrets?|signatures?|tokens?)$"
    r"|^keys?$|(^|[_-])(api|secret|signing|private|admin|bootstrap)[_-]?keys?$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"whsec_[\w+/=-]+"
    r"|\bcrm[srt]?_[\w-]{40,}"
    r"|(?<=\bBearer )\S+|(?<=\bBasic )\S+"
    r"|(?<=\bauthorization[:=] )\S+"
    r"|(?<=://)[^/\s@]*:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
_PHONE = re.compile(
    r"(?:\+|%2B)[1-9](?:\d{6,14}(?!\d)|(?:[ ().-]{0,2}\d){6,14})"
    r"|(?<![^\W_])(?<![.+-])(?:1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-]?)[2-9]\d\d[ .-]?\d{4}"
    r"(?![\w-])",
    re.IGNORECASE,
)
"""Pattern of a phone number: in E.164 form, or a North American number without its country code."""
_MAILBOX = re.compile(r"[\w.+%'-]{1,64}@(?=[\w-]+\.\w)")
_QUOTED = re.compile(
    r"(?<=Failing row contains \().*?(?=\)\.?(?:\n|$))"
    r"|(?<=\)=\().*?(?=\) (?:already|is not|conflicts|is still))"
    r"|(?<=input_value=).*?(?=, input_type=)",
    re.DOTALL,
)
"""Pattern of the values that PostgreSQL and pydantic quote in error messages. These values are
often personal data."""
_SHORT = 64
_MADE_HERE = frozenset({"timestamp", "level", "logger", "process"})
_TALKATIVE = (
    # arq logs two lines for each requested run of a job. Our own code also logs the result of the
    # run.
    "arq.worker",
    "httpx",
    "httpcore",
    "aiosqlite",
    "asyncio",
    "hpack",
    "multipart",
    "alembic.runtime.plugins",
    # SQLAlchemy uses this name for its log lines about connections of our connection pool.
    "crm_api.platform.measured_pool",
)
"""Loggers that report every small step. Only warnings and errors of these loggers are written."""


class _Handler(logging.StreamHandler[TextIO]):
    """Log handler that can keep lines in memory, to write several lines with one system call.

    The method ``hold`` keeps formatted lines until this turn of the event loop ends. The method
    ``emit`` first writes the kept lines, so the order of lines stays the same.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._held: list[str] = []
        self._flushing: asyncio.AbstractEventLoop | None = None

    def hold(self, line: str) -> None:
        """Keep a complete line in memory, and write it at the end of this turn of the event loop.

        If no event loop is running, write the line immediately.
        """
        self._held.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._flushing is not loop:
            self._flushing = loop
            loop.call_soon(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record, after the lines that ``hold`` has kept in memory until now."""
        self._write_held()
        super().emit(record)

    def flush(self) -> None:
        """Write the log lines that are kept in memory.

        ``logging.shutdown`` also calls this method.
        """
        with self.lock or nullcontext():
            self._write_held()
            # The stream may be closed already, for example when `configure` replaces this handler.
            if not self.stream.closed:
                super().flush()

    def _write_held(self) -> None:
        self._flushing = None
        count = len(self._held)
        if not count:
            return
        text = self.terminator.join([*self._held[:count], ""])
        del self._held[:count]
        try:
            self.stream.write(text)
        except Exception:  # noqa: BLE001 - as for other lines: a broken target must not stop work
            self.handleError(logging.makeLogRecord({"msg": "lines not written"}))


_direct: tuple[_Handler, str | None] | None = None
"""The log handler and the process name that ``write`` uses for JSON lines; None if the log is
written to a console as text."""


def configure(
    log_format: Literal["console", "json"] | None = None,
    level: str = "info",
    *,
    process: str | None = None,
    stream: TextIO | None = None,
) -> None:
    """Write the lines of structlog and of the standard library to standard error, in one format.

    Args:
        log_format: The format. None means ``console`` on a terminal, and ``json`` elsewhere.
        level: The lowest level. Libraries stay at ``info`` even for ``debug``: their debug lines
            can contain personal data.
        process: Name of this process in each line; None adds no name.
        stream: The stream to write to; None means standard error.
    """
    target = stream if stream is not None else sys.stderr
    is_console = log_format == "console" or (log_format is None and target.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if process is not None:
        shared.insert(0, _naming(process))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _drop_copies],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                mask_event,
                _renderer(is_console=is_console, colors=target.isatty()),
            ],
        )
    )
    _install(handler, level)
    global _direct  # noqa: PLW0603 - like the handlers of the root logger, one per process
    _direct = None if is_console else (handler, process)


def write(logger: logging.Logger, level: int, event: str, values: Mapping[str, Any]) -> None:
    """Write a JSON line fast: without masking and without structlog's processors.

    Use this function only for the access log, and only with values that cannot contain secrets or
    personal data. A usual log line takes ten times as long. The line is written at the end of this
    turn of the event loop. If the process is killed before the end of the turn, the line is lost.
    """
    if _direct is None:
        structlog.get_logger(logger.name).log(level, event, **values)
        return
    if not logger.isEnabledFor(level):
        return
    handler, process = _direct
    line: dict[str, Any] = {
        **values,
        "event": event,
        **({"process": process} if process is not None else {}),
        "logger": logger.name,
        "level": logging.getLevelName(level).lower(),
        "timestamp": datetime.now(UTC),
    }
    handler.hold(_to_json(_add_trace(None, "", line)))


def mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask the secrets and personal data in a log line.

    If a value has the name of a secret, such as ``token``, the whole value becomes ``***``. In
    other texts, ``mask_text`` masks only the parts that are secrets or personal data.
    """
    return {
        name: value if name in _MADE_HERE else _masked(name, value) for name, value in event.items()
    }


def mask_text(text: str) -> str:
    """Replace secrets and personal data in a text.

    ``***`` replaces secrets, the part of an e-mail address before the @, and values that an error
    message of PostgreSQL or pydantic quotes. A phone number becomes ``+***`` and its last two
    digits.
    """
    return _mask_short(text) if len(text) <= _SHORT else _mask(text)


def _mask(text: str) -> str:
    text = _SECRET_TEXT.sub(MASK, text)
    if "input_value=" in text or "DETAIL:" in text:
        text = _QUOTED.sub(MASK, text)
    if "@" in text:
        text = _MAILBOX.sub(f"{MASK}@", text)
    return _PHONE.sub(_mask_phone, text)


_mask_short = lru_cache(maxsize=2_000)(_mask)
"""The function ``_mask`` with a cache.

Without the cache, masking takes half of the time that is needed to write a log line. Many values in
log lines are the same, so the cache saves most of this time.
"""


def _mask_phone(found: re.Match[str]) -> str:
    return f"+{MASK}{found[0][-2:]}"


def _masked(name: object, value: object) -> object:
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    if isinstance(name, str) and _SECRET_NAME.search(name) and value not in (None, ""):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {inner: _masked(inner, held) for inner, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(None, held) for held in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask_text(str(value))


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add ``trace_id`` and ``span_id`` of the current span, if there is one."""
    found = tracing.ids()
    if found is not None:
        event["trace_id"], event["span_id"] = found
    return event


def _naming(process: str) -> Processor:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return add_process


def _drop_copies(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # Both fields contain the text of the event again. uvicorn adds a copy with colours, and other
    # formatters add a plain copy.
    event.pop("color_message", None)
    event.pop("message", None)
    return event


def _renderer(*, is_console: bool, colors: bool) -> Processor:
    if is_console:
        return structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(serializer=_to_json)


def _to_json(value: Any, **_options: object) -> str:  # noqa: ANN401 - any event
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return orjson.dumps(value, default=str, option=options).decode()


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, _Handler):
            old.flush()
            root.removeHandler(old)
    root.addHandler(handler)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(lowest, logging.INFO))
    logging.getLogger("crm_api").setLevel(lowest)
    for name in list(logging.root.manager.loggerDict):
        # These libraries may have installed their own handlers. With them, each log line would be
        # written twice.
        if name.split(".")[0] in ("uvicorn", "arq", "sqlalchemy", "alembic"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
