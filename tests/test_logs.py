import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from crm_api import logs


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
    logging.captureWarnings(False)


def last_line(stream: io.StringIO) -> dict[str, object]:
    line: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return line


def test_lines_of_libraries_and_our_own_have_one_shape(stream: io.StringIO) -> None:
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
def test_value_under_a_telling_name_is_masked(stream: io.StringIO, name: str) -> None:
    structlog.get_logger().warning("call", **{name: "s3cr3t"}, headers={name: "s3cr3t"})

    assert "s3cr3t" not in stream.getvalue()
    assert last_line(stream)[name] == logs.MASK


def test_ordinary_names_stay_readable(stream: io.StringIO) -> None:
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


def test_console_line_is_for_people(stream: io.StringIO) -> None:
    logs.configure("console", stream=stream)

    structlog.get_logger().warning("restarted", process="serve")

    assert stream.getvalue().startswith("20")
    assert "restarted" in stream.getvalue()
