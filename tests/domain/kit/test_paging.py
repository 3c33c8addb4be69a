"""A cursor continues only the list that issued it."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from tests.conftest import NOW

from crm_api.domain.kit.paging import Cursors, InvalidCursorError
from crm_api.platform.ids import new_id


@dataclass(frozen=True)
class TagFilter:
    tag: str | None = None
    q: str = ""


@dataclass(frozen=True)
class LaterTagFilter:
    """The filter ``TagFilter`` as it is in a later release, with one more field."""

    tag: str | None = None
    q: str = ""
    city: str | None = None


def row(position: int) -> tuple[datetime, UUID]:
    return NOW + timedelta(seconds=position), UUID(int=position)


def test_cursor_returns_the_position_to_the_microsecond() -> None:
    at, row_id = NOW + timedelta(microseconds=1), new_id()

    assert Cursors("calls").read(Cursors("calls").write(at, row_id)) == (at, row_id)


def test_cursor_returns_the_instant_in_utc() -> None:
    at = NOW.astimezone(timezone(timedelta(hours=-5)))

    found = Cursors("calls").read(Cursors("calls").write(at, UUID(int=1)))

    assert found is not None
    assert found[0] == at
    assert found[0].tzinfo is UTC


def test_cursor_of_a_list_sorted_by_text_returns_the_text() -> None:
    cursors = Cursors("contacts", sort="name")

    assert cursors.read_text(cursors.write("garcía, josé 李", UUID(int=1))) == (
        "garcía, josé 李",
        UUID(int=1),
    )


@pytest.mark.parametrize("cursor", [None, ""])
def test_without_a_cursor_the_first_page_is_returned(cursor: str | None) -> None:
    assert Cursors("calls").read(cursor) is None


@pytest.mark.parametrize(
    "other",
    [
        Cursors("messages"),
        Cursors("calls", line_id=UUID(int=2)),
        Cursors("calls"),
        Cursors("calls", line_id=UUID(int=1), wanted=TagFilter(tag="vip")),
        Cursors("calls", line_id=UUID(int=1), sort="name"),
    ],
)
def test_cursor_of_another_list_filter_or_order_is_refused(other: Cursors) -> None:
    own = Cursors("calls", line_id=UUID(int=1))

    with pytest.raises(InvalidCursorError, match="another list, filter or order"):
        own.read(other.write(NOW, UUID(int=1)))


def test_cursor_stays_valid_when_its_filter_gets_a_new_field() -> None:
    before = Cursors("contacts", wanted=TagFilter(tag="vip")).write(NOW, UUID(int=1))

    after = Cursors("contacts", wanted=LaterTagFilter(tag="vip"))
    assert after.read(before) == (NOW, UUID(int=1))
    with pytest.raises(InvalidCursorError):
        Cursors("contacts", wanted=LaterTagFilter(tag="vip", city="Salem")).read(before)


@pytest.mark.parametrize("value", [False, 0])
def test_filter_with_the_value_false_or_zero_is_part_of_the_cursor(value: object) -> None:
    with pytest.raises(InvalidCursorError):
        Cursors("contacts", opted_out=value).read(Cursors("contacts").write(NOW, UUID(int=1)))


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "nonsense",
        "%00",
        "é",
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b'["", 1, 2]').decode(),
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
        Cursors("calls").write("no instant", UUID(int=1)),
        Cursors("calls").write("0001-01-01T00:00:00+14:00", UUID(int=1)),
        Cursors("calls").write("2026-11-25T00:00:00\x00", UUID(int=1)),
    ],
)
def test_text_that_is_not_a_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        Cursors("calls").read(cursor)


def test_page_continues_after_its_last_row() -> None:
    cursors = Cursors("calls")

    page = cursors.page([row(1), row(2), row(3)], limit=2, position=lambda found: found)

    assert page.data == [row(1), row(2)]
    assert cursors.read(page.next_cursor) == row(2)


@pytest.mark.parametrize("rows", [[], [row(1)], [row(1), row(2)]])
def test_last_page_has_no_cursor(rows: list[tuple[datetime, UUID]]) -> None:
    page = Cursors("calls").page(rows, limit=2, position=lambda found: found)

    assert (page.data, page.next_cursor) == (rows, None)


@pytest.mark.parametrize(
    ("later", "then"),
    [
        ("abcdef", "cd"),
        ("xabcdef", "cd"),
        ("acdef", "cd"),
        ("ab", ""),
        ("", ""),
    ],
    ids=["same", "one before", "last row removed", "rest removed", "all removed"],
)
def test_part_of_a_short_list_continues_after_its_last_row(later: str, then: str) -> None:
    cursors = Cursors("letters")
    first = cursors.part("abcdef", cursor=None, limit=2, name=str)

    second = cursors.part(later, cursor=first.next_cursor, limit=2, name=str)

    assert "".join(first.data) == "ab"
    assert "".join(second.data) == then
