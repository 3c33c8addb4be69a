"""Tests of imports that create properties for contacts, and attributes with a type."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.routers.imports.test_import_steps import URL, Importer

from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

HEADER = (
    "Type,Address,City,State,ZIP,APN,Yr Built,Mail Address,Mail City,Mail State,Mail ZIP,"
    "Primary Name,Primary Mobile Phone1,Primary Email1,Secondary Name,Secondary Mobile Phone1\n"
)
MAIL = "1 Sea St,Quincy,MA,02169"
ROWS = (
    f"SFR,1 Sea St,Quincy,MA,2169,1,1987,{MAIL},Ada Rossi,617-555-0101,,Leo Rossi,617-555-0102\n"
    f"CND,2 Sea St Apt 3,Quincy,MA,02169,2,,{MAIL},Ada Rossi,617-555-0101,,,\n"
    f"SFR,1 SEA STREET,Quincy,MA,02169-1234,3,1990,{MAIL},Eva Kim,617-555-0103,,,\n"
    f"SFR,4 Sea St,Quincy,MA,02169,4,old,{MAIL},Nora Chen,,,,\n"
    f",,,,,5,,{MAIL},Omar Kim,617-555-0104,,,\n"
)
PROPERTIES = [
    ("1 Sea St", "02169", 1987, "SFR", [("Ada", "primary"), ("Leo", "secondary")]),
    ("2 Sea St Apt 3", "02169", None, "CND", [("Ada", "primary")]),
]


@pytest.fixture
def importer(
    client: httpx.AsyncClient, new_uow: Callable[[], UnitOfWork], settings: Settings
) -> Importer:
    return Importer(client, new_uow, settings)


async def properties(importer: Importer) -> list[tuple[Any, ...]]:
    found = (await importer.client.get("/v1/properties", params={"q": ""})).json()["data"]
    return sorted(
        (
            one["address"]["street"],
            one["address"]["postal_code"],
            one["year_built"],
            one["property_type"],
            [(person["first_name"], person["role"]) for person in one["contacts"]],
        )
        for one in found
    )


async def test_row_creates_a_property_with_its_people_once(importer: Importer) -> None:
    content = HEADER + ROWS
    dry = await importer.upload(content, dry_run="true")
    before = await properties(importer)

    row = await importer.upload(content)
    first = await properties(importer)
    await importer.upload(content)

    assert (dry["detected_format"], before) == ("propertyradar", [])
    assert (row["created"], row["duplicates_in_file"]) == (4, 1)
    expected = [*PROPERTIES]
    expected[0] = (
        *PROPERTIES[0][:4],
        [("Ada", "primary"), ("Eva", "primary"), ("Leo", "secondary")],
    )
    assert [(*one[:4], sorted(one[4])) for one in first] == expected
    assert await properties(importer) == first
    people = await importer.contacts()
    assert people["+16175550101"]["attributes"]["property_address"] == "1 Sea St"
    owned = await importer.client.get(f"/v1/contacts/{people['+16175550101']['id']}/properties")
    assert len(owned.json()["data"]) == 2


async def test_undo_removes_the_properties(importer: Importer) -> None:
    kept = await importer.client.post(
        "/v1/properties", json={"address": {"street": "2 Sea St #3", "postal_code": "02169"}}
    )
    first = await importer.upload(HEADER + ROWS)
    assert len(await properties(importer)) == 2

    taken_back = await importer.undo(first["id"])

    assert taken_back["undo"]["status"] == "completed"
    assert await properties(importer) == [("2 Sea St #3", "02169", None, "CND", [])]
    assert (await importer.client.get(f"/v1/properties/{kept.json()['id']}")).status_code == 200


async def test_cell_of_the_wrong_type_is_left_out_and_listed(
    importer: Importer,
) -> None:
    for body in (
        {"name": "year_built", "type": "integer"},
        {"name": "owned", "type": "boolean", "required": True},
    ):
        assert (await importer.client.post("/v1/custom-fields", json=body)).status_code == 201
    content = (
        "phone,first_name,Year Built,owned,roof\n"
        '617-555-0101,Ada,"1,987",Yes,slate\n'
        "617-555-0102,Leo,about 1990,,tin\n"
        "617-555-0103,Eva,,n,old\n"
    )
    dry = await importer.upload(content, dry_run="true")

    row = await importer.upload(content)

    assert (row["created"], row["invalid"]) == (3, 0)
    people = (await importer.contacts()).values()
    found = {one["first_name"]: one["attributes"] for one in people}
    assert found == {
        "Ada": {"year_built": 1987, "owned": True, "roof": "slate"},
        "Leo": {"roof": "tin"},
        "Eva": {"owned": False, "roof": "old"},
    }
    for import_id in (dry["id"], row["id"]):
        errors = (await importer.client.get(f"{URL}/{import_id}/errors")).text.splitlines()
        reason = "Give a whole number, such as 1987. The person is imported without it."
        assert errors[1:] == [f'3,Year Built,about 1990,"{reason}"']
