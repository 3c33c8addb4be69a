"""Prove that all parts of a process are closed when it ends, even if one part fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from crm_api.platform.lifetimes import Lifetime


class Part:
    def __init__(self, name: str, closed: list[str], *, fails: str = "") -> None:
        self.name = name
        self._closed = closed
        self._fails = fails

    async def start(self) -> None:
        if self._fails == "start":
            raise OSError(self.name)

    async def close(self) -> None:
        self._closed.append(self.name)
        if self._fails == "close":
            raise OSError(self.name)


@asynccontextmanager
async def opened(closed: list[str]) -> AsyncIterator[str]:
    yield "engine"
    closed.append("engine")
    raise OSError("engine")


async def test_part_that_fails_to_close_is_logged_and_the_others_are_closed() -> None:
    closed: list[str] = []
    with structlog.testing.capture_logs() as lines:
        async with Lifetime() as life:
            assert await life.open(opened(closed)) == "engine"
            await life.start(Part("first", closed))
            await life.start(Part("second", closed, fails="close"))
            life.at_end(lambda: closed.append("third"))

    assert closed == ["third", "second", "first", "engine"]
    assert [(one["event"], one["step"].rsplit(".", 1)[-1]) for one in lines] == [
        ("shutdown step failed", "close"),
        ("shutdown step failed", "leave"),
    ]


async def test_service_that_does_not_start_is_closed_and_ends_the_block() -> None:
    closed: list[str] = []
    with pytest.raises(OSError, match="second"):
        async with Lifetime() as life:
            await life.start(Part("first", closed))
            await life.start(Part("second", closed, fails="start"))

    assert closed == ["second", "first"]


async def test_error_of_the_block_is_raised_although_a_part_fails_to_close() -> None:
    closed: list[str] = []
    with pytest.raises(ValueError, match="work"):
        async with Lifetime() as life:
            await life.start(Part("first", closed, fails="close"))
            raise ValueError("work")
