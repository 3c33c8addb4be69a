"""Divide lists into pages with cursors (keyset paging).

A cursor identifies the last row of a page by the row's sort value and id, so inserted rows do not
shift the pages. A cursor also contains a digest of the list's name, filter and order. A cursor of
another list is refused.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from hashlib import blake2s
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from crm_api.domain.kit.errors import InvalidError

Item = TypeVar("Item")
Row = TypeVar("Row")
TimePosition = tuple[datetime, UUID]
"""The instant and the id of the last row of a page. The next page begins after this row."""

_DIGEST_BYTES = 6
"""The length in bytes of the digest in a cursor. The digest only distinguishes lists. Security does
not need a longer digest, because a forged cursor gives no extra access."""


class InvalidCursorError(InvalidError):
    """The cursor belongs to another list, or to this list with another filter or order."""

    code = "invalid_cursor"
    title = "Invalid cursor"
    pointer = "/cursor"
    detail = "This cursor does not belong to this list. Leave it out to begin with the first page."


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list; ``next_cursor`` is None on the last page."""

    data: list[Item]
    next_cursor: str | None


class Cursors:
    """Makes and reads the cursors of one list with one filter and one order.

    Example: ``Cursors("calls", line_id=line_id)``.
    """

    def __init__(self, name: str, **wanted: object) -> None:
        """Bind the cursors to a list: its name, and all values that filter or order its rows."""
        described = json.dumps([name, _plain(wanted)], sort_keys=True, default=str)
        self._digest = blake2s(described.encode(), digest_size=_DIGEST_BYTES).hexdigest()

    def read(self, cursor: str | None) -> TimePosition | None:
        """Return the instant and the id in a cursor, for a list that is ordered by an instant.

        The page begins after the row with these values. The result is None for the first page,
        which has no cursor.

        Raises:
            InvalidCursorError: The cursor does not belong to this list.
        """
        found = self.read_text(cursor)
        if found is None:
            return None
        key, row_id = found
        return _parse_instant(key), row_id

    def read_marked(self, cursor: str | None) -> tuple[str, TimePosition] | None:
        """Return the values in a cursor of ``write_marked``, for a list that has several parts.

        Returns:
            One character that identifies the part, then the instant and the id of the last row of
            the previous page. None for the first page, which has no cursor.

        Raises:
            InvalidCursorError: The cursor does not belong to this list.
        """
        found = self.read_text(cursor)
        if found is None:
            return None
        key, row_id = found
        return key[:1], (_parse_instant(key[1:]), row_id)

    def read_text(self, cursor: str | None) -> tuple[str, UUID] | None:
        """Return the text and the id in a cursor, for a list that is ordered by a text.

        The page begins after the row with these values. The result is None for the first page,
        which has no cursor.

        Raises:
            InvalidCursorError: The cursor does not belong to this list.
        """
        if not cursor:
            return None
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            digest, key, hex_id = json.loads(raw)
            row_id = UUID(hex=hex_id)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidCursorError from error
        if not (isinstance(digest, str) and isinstance(key, str)) or "\x00" in key:
            raise InvalidCursorError
        if digest != self._digest:
            raise InvalidCursorError(
                "This cursor belongs to another list, filter or order. Send the same parameters as "
                "in the request that returned the cursor, or send no cursor to get the first page."
            )
        return key, row_id

    def write(self, key: datetime | str, row_id: UUID) -> str:
        """Make the cursor that continues after the row with this sort value (``key``) and id."""
        first = key.isoformat() if isinstance(key, datetime) else key
        raw = json.dumps([self._digest, first, row_id.hex], ensure_ascii=False)
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def write_marked(self, mark: str, position: TimePosition) -> str:
        """Make the cursor of a list that has several parts.

        Args:
            mark: One character that identifies the part in which the page ended.
            position: The instant and the id of the last row of the page.
        """
        at, row_id = position
        return self.write(f"{mark}{at.isoformat()}", row_id)

    def page(
        self,
        rows: Sequence[Row],
        *,
        limit: int,
        position: Callable[[Row], tuple[datetime | str, UUID]],
    ) -> Page[Row]:
        """Return a page of the first ``limit`` rows; it has a next cursor if there are more rows.

        Args:
            rows: Up to ``limit + 1`` rows from the start of the page.
            position: Returns the sort value and the id of a row.
        """
        shown = list(rows[:limit])
        return Page(shown, self.write(*position(shown[-1])) if len(rows) > limit else None)

    def part(
        self, rows: Sequence[Row], *, cursor: str | None, limit: int, name: Callable[[Row], str]
    ) -> Page[Row]:
        """Return one page of a short list that the caller has read completely.

        Args:
            rows: All rows, in their order.
            name: Returns a text that identifies a row. The cursor contains this text for the last
                row of the previous page. If the list no longer has that row, the page begins at the
                position that the row had.

        Raises:
            InvalidCursorError: The cursor does not belong to this list.
        """
        found = self.read_text(cursor)
        begin = 0
        if found is not None:
            last, encoded = found
            begin, names = encoded.int, [name(row) for row in rows]
            if last not in names:
                begin = max(0, begin - 1)
            elif names[begin - 1 : begin] != [last]:
                begin = names.index(last) + 1
        shown = list(rows[begin : begin + limit])
        if begin + limit >= len(rows):
            return Page(shown, None)
        return Page(shown, self.write(name(shown[-1]), UUID(int=begin + limit)))


def newest_first(
    statement: Select[Row],
    at: InstrumentedAttribute[datetime],
    row_id: InstrumentedAttribute[UUID],
    *,
    after: TimePosition | None,
    limit: int | None,
) -> Select[Row]:
    """Restrict a statement to one page of a list; the row with the latest instant comes first.

    Args:
        at: The column by which the list is ordered.
        row_id: The column that orders rows with the same instant.
        after: The instant and the id of the last row of the previous page.
        limit: The largest number of rows; None for no limit.
    """
    if after is not None:
        statement = statement.where(tuple_(at, row_id) < after)
    return statement.order_by(at.desc(), row_id.desc()).limit(limit)


async def read_newest(
    session: AsyncSession,
    statement: Select[Row],
    at: InstrumentedAttribute[datetime],
    row_id: InstrumentedAttribute[UUID],
    *,
    cursors: Cursors,
    cursor: str | None,
    limit: int,
) -> Page[Row]:
    """Read one page of a list of table rows, the row with the latest instant first.

    Args:
        statement: Selects the rows of the list, without an order and a limit.
        at: The column by which the list is ordered.
        row_id: The column with the ids of the rows.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    after = cursors.read(cursor)
    ordered = newest_first(statement, at, row_id, after=after, limit=limit + 1)
    rows = (await session.scalars(ordered)).all()
    return cursors.page(
        rows,
        limit=limit,
        position=lambda row: (getattr(row, at.key), getattr(row, row_id.key)),
    )


def _plain(wanted: object) -> Any:  # noqa: ANN401 - JSON
    """Return a filter as JSON values, for the digest in a cursor.

    Fields that are None, an empty text or an empty object are left out. So if a later release adds
    a field to a filter, old cursors stay valid while the field is not set.
    """
    if is_dataclass(wanted):
        wanted = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    if isinstance(wanted, dict):
        plain = {name: _plain(value) for name, value in wanted.items()}
        return {name: value for name, value in plain.items() if value not in (None, "", {})}
    return wanted


def _parse_instant(key: str) -> datetime:
    try:
        return datetime.fromisoformat(key).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidCursorError from error
