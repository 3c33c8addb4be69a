"""Write a list of the API as CSV, with one column for each field of its items."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from types import UnionType
from typing import Annotated, Any, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from crm_api.domain.kit.csv_export import cell_text, csv_lines, write_csv
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

ItemT = TypeVar("ItemT", bound=BaseModel)


class ReadPage(Protocol[ItemT]):
    """A function that reads one page of a list."""

    def __call__(
        self, uow: UnitOfWork, cursor: str | None, limit: int, /
    ) -> Awaitable["PageRead[ItemT]"]:
        """Read a page.

        Args:
            uow: The open transaction.
            cursor: The cursor of the page; None for the first page.
            limit: The largest number of items.
        """


PAGE = 200
"""The number of items that are read in one transaction.

It is the largest ``limit`` of a JSON page. So a CSV file has the rows of the JSON pages, and its
statements are as fast as those of the pages.
"""
_NEGATIVE_RATE = re.compile(r"-[0-9]+\.[0-9]+")
"""Pattern of a negative decimal number, such as a difference of rates. It is not a formula."""


async def export_items(
    new_uow: UnitOfWorkFactory, item: type[ItemT], read_page: ReadPage[ItemT]
) -> AsyncIterator[bytes]:
    """Return an iterator over the parts of a CSV file with all items of a list.

    The first page is read before this function returns. So an error of the list, such as a wrong
    filter, is raised before the response begins.

    Args:
        new_uow: Returns a unit of work for each page.
        item: The model of the items.
        read_page: Reads a page of the list.
    """
    columns = columns_of(item)
    async with new_uow() as uow:
        first = await read_page(uow, None, PAGE)

    async def next_page(uow: UnitOfWork, cursor: str | None) -> tuple[bytes, str | None]:
        page = first if cursor is None else await read_page(uow, cursor, PAGE)
        rows = [one.model_dump(mode="json", by_alias=True) for one in page.data]
        return csv_lines(cells_of(row, columns) for row in rows), page.next_cursor

    return write_csv(new_uow, header=columns, next_page=next_page)


def columns_of(model: type[BaseModel]) -> list[str]:
    """Return the names of the CSV columns for a model, in the order of its fields.

    A field that contains another model has a column for each field of that model, such as
    ``assignee.name``.
    """
    columns: list[str] = []
    for field, info in model.model_fields.items():
        name = info.serialization_alias or field
        inner = _model_in(info.annotation)
        columns += [name] if inner is None else [f"{name}.{one}" for one in columns_of(inner)]
    return columns


def _model_in(kind: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type
    """Return the model that a field contains; None if there is none."""
    if get_origin(kind) is Annotated:
        return _model_in(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        kinds = [one for one in get_args(kind) if one is not type(None)]
        return _model_in(kinds[0]) if len(kinds) == 1 else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def cells_of(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the CSV cells of an item.

    Args:
        row: The item as JSON.
        columns: The names of the columns, from ``columns_of``.
    """
    return [_cell(_value_at(row, column)) for column in columns]


def _value_at(row: dict[str, Any], column: str) -> Any:  # noqa: ANN401 - JSON
    value: Any = row
    for name in column.split("."):
        if value is None:
            return None
        value = value[name]
    return value


def _cell(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return the text of a JSON value. A list of plain values is joined by ``; ``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        return cell_text("; ".join(map(str, value)))
    if isinstance(value, str) and _NEGATIVE_RATE.fullmatch(value):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return cell_text(value)
