"""Every value of the header Retry-After, sent by another service, causes a bounded wait."""

import time
from datetime import UTC, datetime

import pytest

from crm_api.domain.kit.backoff import LONGEST_SECONDS, RetryAfter, read_http_date, read_retry_after

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "soon",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "9" * 400,
        "-5",
        "-1e18",
        "0",
        "0x10",
        "\x00",
        "10\x00",
        "Wed, 25 Nov 2026 14:59:59 GMT",
        "Wed, 25 Nov 2026 15:00:00 GMT",
        "Mon, 99 Foo 10000000 99:99:99 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Wed, 25 Nov 2026 15:00:00 +99999999999",
    ],
)
def test_value_without_a_positive_wait_gives_none(header: str | None) -> None:
    assert read_retry_after(header, now=NOW) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.5", 0.5),
        ("600", 600.0),
        ("Wed, 25 Nov 2026 15:00:30 GMT", 30.0),
    ],
)
def test_wait_up_to_the_limit_is_granted(header: str, seconds: float) -> None:
    read = read_retry_after(header, now=NOW)

    assert read == RetryAfter(seconds=seconds, asked_seconds=seconds)
    assert not read.is_cut


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("600.5", 600.5),
        ("31536000", 31_536_000.0),
        ("1e18", 1e18),
        ("1e300", 1e300),
        ("Thu, 25 Nov 2027 15:00:00 GMT", 31_536_000.0),
    ],
)
def test_longer_wait_is_cut_and_the_requested_wait_is_kept(header: str, asked: float) -> None:
    read = read_retry_after(header, now=NOW)

    assert read == RetryAfter(seconds=LONGEST_SECONDS, asked_seconds=asked)
    assert read.is_cut


def test_date_without_the_present_time_gives_none() -> None:
    assert read_retry_after("Wed, 25 Nov 2026 15:00:30 GMT", now=None) is None


@pytest.mark.parametrize(
    "header",
    [
        "Wed, 25 Nov 2026 15:00:30 GMT",
        "Wed Nov 25 15:00:30 2026",
        "Wed, 25 Nov 2026 15:00:30 -0000",
        "Wed, 25 Nov 2026 10:00:30 -0500",
    ],
)
def test_date_without_a_zone_is_in_utc(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert read_http_date(header) == datetime(2026, 11, 25, 15, 0, 30, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("header", [None, "", "yesterday", "0", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_unreadable_date_gives_none(header: str | None) -> None:
    assert read_http_date(header) is None
