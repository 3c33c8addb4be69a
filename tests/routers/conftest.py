"""Fixture of the route tests that captures the log of this process."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from crm_api.platform import logs


class CountingStream(io.StringIO):
    """Log stream that counts how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    def requests(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in lines if line["event"] == "request finished"]


@pytest.fixture
def stream() -> Iterator[CountingStream]:
    """Yield a stream that receives the log of this process as JSON lines."""
    target = CountingStream()
    logs.configure("json", stream=target, process="serve")
    yield target
    structlog.reset_defaults()
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logs._Handler):
            logging.getLogger().removeHandler(handler)
    logs._direct = None
