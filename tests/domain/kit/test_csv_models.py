"""Tests of CSV files whose columns are the fields of a model."""

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import Field

from crm_api.domain.kit import csv_models
from crm_api.domain.kit.csv_models import cells_of, columns_of, export_items
from crm_api.domain.kit.paging import InvalidCursorError
from crm_api.domain.kit.schemas import Instant, PageRead, ReadModel
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory


class Person(ReadModel):
    """Someone.

    Attributes:
        name: The name.
    """

    name: str


class Visit(ReadModel):
    """An item with a field of each kind.

    Attributes:
        since: The beginning.
        person: The person.
        helper: Another person.
        tags: Some texts.
        parts: Some objects.
        filter: Any object.
        count: A number.
        rate: A number as text.
        is_done: A truth value.
    """

    since: Annotated[Instant, Field(alias="from")]
    person: Person
    helper: Annotated[Person | None, Field()]
    tags: list[str]
    parts: list[Person]
    filter: dict[str, Any]
    count: int
    rate: str | None
    is_done: bool


COLUMNS = [
    *("from", "person.name", "helper.name", "tags", "parts", "filter", "count", "rate", "is_done")
]


def visit(**changed: Any) -> Visit:
    values = {
        "from": datetime(2026, 11, 25, 15, tzinfo=UTC),
        "person": Person(name="Ada"),
        "helper": None,
        "tags": ["vip", "hot"],
        "parts": [Person(name="Bo")],
        "filter": {"status": "open"},
        "count": -2,
        "rate": "-0.0040",
        "is_done": True,
    }
    return Visit.model_validate(values | changed)


def cells(**changed: Any) -> dict[str, str]:
    row = visit(**changed).model_dump(mode="json", by_alias=True)
    return dict(zip(COLUMNS, cells_of(row, columns_of(Visit)), strict=True))


def test_each_field_of_a_model_in_a_model_is_a_column() -> None:
    assert columns_of(Visit) == COLUMNS


def test_values_are_written_as_in_json() -> None:
    assert cells() == {
        "from": "2026-11-25T15:00:00.000Z",
        "person.name": "Ada",
        "helper.name": "",
        "tags": "vip; hot",
        "parts": '[{"name": "Bo"}]',
        "filter": '{"status": "open"}',
        "count": "-2",
        "rate": "-0.0040",
        "is_done": "true",
    }
    assert cells(helper=Person(name="Cy"))["helper.name"] == "Cy"
    assert cells(tags=[], rate=None)["tags"] == ""


@pytest.mark.parametrize(
    "formula", ["=cmd()", "+1+1", "-2", "-2.5+3", "@SUM(A1)", "\t=1", "\uff1d1"]
)
def test_formulas_get_an_apostrophe_in_texts_and_lists(formula: str) -> None:
    written = cells(person=Person(name=formula), tags=[formula, "x"], rate=formula)

    assert written["person.name"] == written["rate"] == f"'{formula}"
    assert written["tags"] == f"'{formula}; x"


async def test_pages_are_read_one_at_a_time_each_in_its_own_transaction(
    new_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_models, "PAGE", 2)
    read: list[str | None] = []
    opened: set[int] = set()

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[Visit]:
        read.append(cursor)
        opened.add(id(uow.session))
        place = int(cursor or 0)
        rows = [visit(count=place + number) for number in range(limit)]
        following = None if place == 4 else str(place + limit)
        return PageRead(data=rows, next_cursor=following)

    parts = await export_items(new_uow, Visit, read_page)
    seen = [read.copy()]
    text = b""
    async for part in parts:
        text += part
        seen.append(read.copy())

    # The header and the first page need one page only; each later part needs one more.
    assert seen == [[None], [None], [None], [None, "2"], [None, "2", "4"]]
    rows = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    assert [row["count"] for row in rows] == ["0", "1", "2", "3", "4", "5"]


async def test_error_of_the_first_page_is_raised_before_the_file_begins(
    new_uow: UnitOfWorkFactory,
) -> None:
    async def read_page(_uow: UnitOfWork, _cursor: str | None, _limit: int) -> PageRead[Visit]:
        raise InvalidCursorError

    with pytest.raises(InvalidCursorError):
        await export_items(new_uow, Visit, read_page)
