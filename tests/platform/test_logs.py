import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest
import structlog
from pydantic import BaseModel

from crm_api.platform import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    target = io.StringIO()
    logs.configure("json", stream=target)
    yield target
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logs._Handler):
            logging.getLogger().removeHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("crm_api").setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    logs._direct = None


def last_line(stream: io.StringIO) -> dict[str, object]:
    line: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return line


def test_log_lines_of_libraries_and_of_the_service_have_one_format(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
    theirs = last_line(stream)
    structlog.get_logger("crm_api").warning("from us")
    ours = last_line(stream)

    assert theirs["event"] == "from uvicorn"
    assert ours["event"] == "from us"
    assert set(theirs) == set(ours) == {"event", "logger", "level", "timestamp"}


def test_line_carries_the_request_id(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")

    logging.getLogger("sqlalchemy.engine").warning("slow")

    assert last_line(stream)["request_id"] == "r-1"


def test_line_names_the_process(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream, process="worker")

    logging.getLogger("arq.connections").info("ready")

    assert last_line(stream)["process"] == "worker"


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "api_key",
        "key",
        "secret",
        "secret_key",
        "password",
        "token",
        "access_token",
        "signature",
        "openphone-signature",
    ],
)
def test_value_under_a_secret_name_is_masked(stream: io.StringIO, name: str) -> None:
    structlog.get_logger().warning("call", **{name: "s3cr3t"}, headers={name: "s3cr3t"})

    assert "s3cr3t" not in stream.getvalue()
    assert last_line(stream)[name] == logs.MASK


def test_values_under_ordinary_names_are_not_masked(stream: io.StringIO) -> None:
    structlog.get_logger().warning("run", job_key="process_campaign_queue", tokens_left=3)

    line = last_line(stream)
    assert line["job_key"] == "process_campaign_queue"
    assert line["tokens_left"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "signed with whsec_c2VjcmV0",
        "the key was crm_c2VjcmV0-c2VjcmV0-c2VjcmV0-c2VjcmV0-c2VjcmV0",
        "the token was crms_c2VjcmV0-c2VjcmV0-c2VjcmV0-c2VjcmV0-c2VjcmV0",
        "header was Bearer c2VjcmV0",
        "connecting to postgresql://crm:c2VjcmV0@db/crm",
    ],
)
def test_text_that_looks_like_a_secret_is_masked(stream: io.StringIO, text: str) -> None:
    logging.getLogger("x").warning(text)

    assert "c2VjcmV0" not in stream.getvalue()
    assert logs.MASK in stream.getvalue()


def test_secret_in_a_traceback_is_masked(stream: io.StringIO) -> None:
    try:
        int("Bearer c2VjcmV0")
    except ValueError:
        logging.getLogger("x").exception("failed")

    assert "Traceback" in str(last_line(stream)["exception"])
    assert "c2VjcmV0" not in stream.getvalue()


@pytest.mark.parametrize(
    "written",
    [
        "+16175550123",
        "+1 617-555-0123",
        "+1 (617) 555-0123",
        "(617) 555-0123",
        "617-555-0123",
        "617.555.0123",
        "6175550123",
        "16175550123",
        "%2B16175550123",
    ],
)
def test_phone_number_in_any_notation_keeps_two_digits(stream: io.StringIO, written: str) -> None:
    structlog.get_logger().warning(
        f"texting {written}.", to=written, path=f"/x/{written}?a=1", held={"all": [written]}
    )

    line = last_line(stream)
    assert line["event"] == "texting +***23."
    assert line["to"] == "+***23"
    assert line["path"] == "/x/+***23?a=1"
    assert line["held"] == {"all": ["+***23"]}


def test_number_of_another_country_is_masked(stream: io.StringIO) -> None:
    structlog.get_logger().warning("texting +44 20 7946 0958 in 3 parts")

    assert last_line(stream)["event"] == "texting +***58 in 3 parts"


@pytest.mark.parametrize(
    "text",
    [
        "019ac3f2-1234-7567-8901-234567890123",
        "0b9f6c1f7a5d4c6f8e2d1c3b4a596877",
        "2026-11-26T07:17:01.082741Z",
        "2026-11-26T07:17:01+00:00",
        "1795680000",
        "1795680000123",
        "203.0.113.25:5432",
        "ACb3c2345678901a",
    ],
)
def test_ids_and_times_are_not_masked_as_phone_numbers(stream: io.StringIO, text: str) -> None:
    structlog.get_logger().warning("seen", what=text, count=6175550123)

    assert last_line(stream)["what"] == text
    assert last_line(stream)["count"] == 6175550123


def test_only_the_domain_of_an_email_address_is_logged(stream: io.StringIO) -> None:
    structlog.get_logger().warning("mailed ada.l+x@mail.example.com", to="<ada@example.com>")

    assert last_line(stream)["event"] == "mailed ***@mail.example.com"
    assert last_line(stream)["to"] == "<***@example.com>"


class _Person(BaseModel):
    note: int


def test_values_quoted_by_errors_are_masked(stream: io.StringIO) -> None:
    note_text = "the key lies under the mat"
    try:
        _Person.model_validate({"note": note_text})
    except ValueError:
        logging.getLogger("x").exception("failed")
    refused = str(last_line(stream)["exception"])
    logging.getLogger("x").warning(
        "new row violates a check\nDETAIL:  Failing row contains (7, under the mat, null).\nthen"
    )
    failing = last_line(stream)["event"]
    logging.getLogger("x").warning("DETAIL:  Key (note)=(under the mat) already exists.")

    assert "input_value=***, input_type=str" in refused
    assert failing == ("new row violates a check\nDETAIL:  Failing row contains (***).\nthen")
    assert last_line(stream)["event"] == "DETAIL:  Key (note)=(***) already exists."
    assert "the mat" not in stream.getvalue()


def test_level_debug_applies_only_to_lines_of_the_service(stream: io.StringIO) -> None:
    logs.configure("json", "debug", stream=stream)

    structlog.get_logger("crm_api.x").debug("ours")
    logging.getLogger("python_multipart.multipart").debug("theirs")

    assert last_line(stream)["event"] == "ours"


def test_level_warning_omits_lower_levels(stream: io.StringIO) -> None:
    logs.configure("json", "warning", stream=stream)

    structlog.get_logger("crm_api.x").info("ours")
    logging.getLogger("x").info("theirs")

    assert stream.getvalue() == ""


def test_directly_written_line_has_the_usual_format(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream, process="serve")
    logger = logging.getLogger("crm_api.x")

    structlog.get_logger("crm_api.x").info("request", status=200)
    usual = last_line(stream)
    logs.write(logger, logging.INFO, "request", {"status": 200})
    logs.write(logger, logging.DEBUG, "request", {"status": 200})

    direct = last_line(stream)
    times = [datetime.fromisoformat(str(line.pop("timestamp"))) for line in (usual, direct)]
    assert direct == usual
    assert times[0] <= times[1]
    assert len(stream.getvalue().splitlines()) == 2


class CountingStream(io.StringIO):
    """A stream that counts the calls of its method ``write``."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def events(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


async def test_lines_of_one_turn_of_the_event_loop_are_one_write(stream: io.StringIO) -> None:
    counting = CountingStream()
    logs.configure("json", stream=counting)
    logger = logging.getLogger("crm_api.x")

    for number in range(20):
        logs.write(logger, logging.INFO, f"request {number}", {})
    await asyncio.sleep(0)
    logs.write(logger, logging.INFO, "request 20", {})
    await asyncio.sleep(0)

    assert events(counting) == [f"request {number}" for number in range(21)]
    assert counting.writes == 2
    assert stream.getvalue() == ""


async def test_direct_lines_and_usual_lines_keep_their_order(stream: io.StringIO) -> None:
    logger = logging.getLogger("crm_api.x")

    logs.write(logger, logging.INFO, "first", {})
    structlog.get_logger("crm_api.x").info("second")
    logs.write(logger, logging.INFO, "third", {})
    logging.getLogger("x").warning("fourth")
    await asyncio.sleep(0)

    assert events(stream) == ["first", "second", "third", "fourth"]


async def test_direct_lines_are_written_when_logging_ends(stream: io.StringIO) -> None:
    logs.write(logging.getLogger("crm_api.x"), logging.INFO, "last", {})

    logging.shutdown()

    assert events(stream) == ["last"]


async def test_failed_write_of_direct_lines_does_not_stop_later_lines(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger = logging.getLogger("crm_api.x")
    with monkeypatch.context() as broken:
        broken.setattr(stream, "write", lambda _text: 1 / 0)
        logs.write(logger, logging.INFO, "lost", {})
        await asyncio.sleep(0)

    logs.write(logger, logging.INFO, "kept", {})
    await asyncio.sleep(0)

    assert events(stream) == ["kept"]


def test_console_format_is_readable_text(stream: io.StringIO) -> None:
    logs.configure("console", stream=stream)

    structlog.get_logger().warning("restarted", process="serve")

    assert stream.getvalue().startswith("20")
    assert "restarted" in stream.getvalue()
