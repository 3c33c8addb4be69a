"""A malformed or hostile file gives a clear problem or a reported row, and uses little memory."""

import csv
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.routers.imports.test_import_steps import Importer
from tests.workbooks import parts, workbook

from crm_api.domain.imports.contacts.source import ImportSource, examine_file
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

NewUow = Callable[[], UnitOfWork]
URL = "/v1/imports"
MEMORY_LIMIT = 64 << 20


@pytest.fixture
def importer(client: httpx.AsyncClient, new_uow: NewUow, settings: Settings) -> Importer:
    return Importer(client, new_uow, settings)


async def import_file(
    importer: Importer, content: str | bytes
) -> tuple[dict[str, int], list[list[str]]]:
    """Import a file; return its counts, and the rows of its error file without the header."""
    raw = content.encode() if isinstance(content, str) else content
    answer = await importer.client.post(URL, files={"file": ("people.csv", raw, "text/csv")})
    assert answer.status_code == 202, answer.text
    done = await importer.finish(answer.json()["id"])
    assert done["status"] == "completed", done["error"]
    errors = (await importer.client.get(f"{URL}/{done['id']}/errors")).text
    names = ("created", "duplicates_in_file", "invalid")
    counts = {name: done[name] for name in names if done[name]}
    return counts, list(csv.reader(io.StringIO(errors)))[1:]


async def refusal(importer: Importer, content: bytes) -> tuple[int, str]:
    answer = await importer.client.post(URL, files={"file": ("people.csv", content, "text/csv")})
    return answer.status_code, answer.json()["code"]


async def test_header_of_ten_thousand_columns_is_refused(importer: Importer) -> None:
    header = ",".join(f"c{at}" for at in range(10_000))

    assert await refusal(importer, f"phone,{header}\n6175550101\n".encode()) == (422, "not_csv")


async def test_row_of_ten_thousand_values_is_reported(importer: Importer) -> None:
    counts, errors = await import_file(importer, "phone\n6175550101" + ",x" * 9_999 + "\n")

    assert counts == {"created": 1}
    ((line, _, value, reason),) = errors
    assert line == "2"
    assert len(value) <= 200
    assert "more values than the header has columns (1)" in reason


@pytest.mark.parametrize("row", ["x" * 10_000_000, '"' + ("y" * 99_999 + "\n") * 100 + '"'])
async def test_row_of_ten_megabytes_does_not_affect_other_rows(
    importer: Importer, row: str
) -> None:
    counts, errors = await import_file(importer, f"phone,notes\n6175550101,{row}\n6175550102,b\n")

    assert counts["created"] >= 1
    assert errors[0][0] == "2"
    contacts = await importer.contacts()
    assert "+16175550102" in contacts


async def test_nul_bytes_are_refused_with_their_reason(importer: Importer) -> None:
    assert await refusal(importer, b"phone,na\0me\n6175550101,Ada\n") == (422, "not_csv")


async def test_mixed_line_ends_are_accepted(importer: Importer) -> None:
    counts, errors = await import_file(
        importer, "phone,name\r6175550101,Ada\r\n6175550102,Leo\n6175550103,Eva\r\n\r\nx,Omar"
    )

    assert counts == {"created": 3, "invalid": 1}
    assert errors[0][0] == "6"


async def test_unclosed_quotes_affect_only_their_own_row(importer: Importer) -> None:
    counts, errors = await import_file(
        importer, 'phone,name\n6175550101,Ada\n"6175550102,Leo\n6175550103,Eva\n6175550104,Omar\n'
    )

    assert counts == {"created": 3, "invalid": 1}
    assert errors[0][0] == "3"
    assert "quote that is not closed" in errors[0][3]


async def test_repeated_header_is_reported(importer: Importer) -> None:
    counts, errors = await import_file(
        importer, "phone,name\n6175550101,Ada\nPHONE , Name\n6175550102,Leo\n"
    )

    assert counts == {"created": 2, "invalid": 1}
    assert errors == [["3", "", "", "The row repeats the header, so it was left out."]]


async def test_zip_bomb_is_refused(importer: Importer) -> None:
    buffer = io.BytesIO()

    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts({"Leads": [["phone"], ["6175550101"]]}).items():
            archive.writestr(name, content)
        archive.writestr("xl/media/large.xml", b"\0" * (64 << 20))

    assert await refusal(importer, buffer.getvalue()) == (422, "workbook_too_large")


async def test_archive_of_another_kind_is_refused(importer: Importer) -> None:
    assert await refusal(importer, b"PK\x03\x04 nothing") == (422, "not_csv")


async def test_workbook_is_read_like_a_csv_file(importer: Importer) -> None:
    content = workbook(
        {
            "Leads": [
                ["Phone", "First Name", "Built"],
                [6175550101, "Ada", 1925],
                [],
                ["call after 5", "Leo", None],
                ["6.175550102E+09", "Eva", 1.5],
            ]
        }
    )

    counts, errors = await import_file(importer, content)

    assert counts == {"created": 2, "invalid": 1}
    assert [row[:3] for row in errors] == [["4", "Phone", "call after 5"]]
    contacts = await importer.contacts()
    assert {phone: one["attributes"] for phone, one in contacts.items()} == {
        "+16175550101": {"built": "1925"},
        "+16175550102": {"built": "1.5"},
    }


async def test_phone_numbers_in_common_notations_are_read(importer: Importer) -> None:
    counts, errors = await import_file(
        importer,
        "phone\n"
        "6.175550101E+09\n"
        "+44 20 7946 0958\n"
        "617-555-0102 x204\n"
        '"617-555-0103 / 617-555-0104"\n'
        "6.18E+09\n"
        "=cmd()\n"
        '"=""6175550105"""\n',
    )

    assert counts == {"created": 4, "invalid": 3}
    assert [row[0] for row in errors] == ["3", "6", "7"]
    assert "country code +44" in errors[0][3]
    assert "last digits are lost" in errors[1][3]
    assert errors[2][2] == "'=cmd()"
    contacts = await importer.contacts()
    assert {phone: one["attributes"] for phone, one in contacts.items()} == {
        "+16175550101": {},
        "+16175550102": {"phone_extension": "204"},
        "+16175550103": {"phone_2": "+16175550104"},
        "+16175550105": {},
    }


async def test_formula_is_stored_as_text_and_neutralised_in_the_export(importer: Importer) -> None:
    await import_file(importer, "phone,notes,email\n6175550101,=cmd(),=1+1\n")

    (contact,) = (await importer.contacts()).values()
    assert contact["attributes"] == {"notes": "=cmd()"}
    listed = await importer.client.get(URL)
    errors = await importer.client.get(f"{URL}/{listed.json()['data'][0]['id']}/errors")
    assert "'=1+1" in errors.text


@pytest.mark.parametrize(
    ("row", "most"),
    [
        ("6175550101," + "x" * 10_000_000, MEMORY_LIMIT),
        ("6175550101," + "ab," * 60_000, MEMORY_LIMIT),
        ('6175550101,"' + ("y" * 9 + "\n") * 2_000, MEMORY_LIMIT),
        ("6175550101," + '"a""b",' * 90_000, MEMORY_LIMIT),
    ],
    ids=["long", "wide", "open", "quoted"],
)
def test_hostile_rows_do_not_increase_memory(tmp_path: Path, row: str, most: int) -> None:
    path = tmp_path / "people.csv"
    with path.open("w") as file:
        file.write("phone,notes\n6175550100,a\n")
        file.writelines(f"{row}\n" for _ in range(3))
        file.write("6175550102,b\n")
    tracemalloc.start()
    try:
        source = ImportSource(path, examine_file(path).mapping)
        records = []
        while chunk := source.next_chunk():
            records += [record[3] for record in chunk.records]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < most
    assert {"+16175550100", "+16175550102"} <= set(records)
