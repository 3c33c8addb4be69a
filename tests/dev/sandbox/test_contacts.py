"""Tests of the sandbox's address book."""

from typing import Any

from tests.dev.sandbox.support import open_sandbox
from tests.domain.provider.openphone.samples import check_response

FIELDS = [
    {"name": "Roof", "key": "roof", "type": "string"},
    {"name": "Kinds", "key": "kinds", "type": "multi-select"},
]
URL = "/v1/contacts?maxResults=2"


async def test_contacts_are_listed_page_by_page_with_their_custom_fields() -> None:
    people: list[dict[str, Any]] = [
        {"firstName": f"Ada{number}", "phoneNumbers": [f"+1617555010{number}"]}
        for number in range(3)
    ]
    people[0] |= {"emails": ["ada@example.com"], "customFields": {"roof": "slate"}}
    async with open_sandbox() as sandbox:
        await sandbox.control("/contacts", {"fields": FIELDS, "contacts": people})

        first = (await sandbox.http.get(URL)).json()
        rest = (await sandbox.http.get(f"{URL}&pageToken={first['nextPageToken']}")).json()
        fields = (await sandbox.http.get("/v1/contact-custom-fields")).json()

    listed = first["data"] + rest["data"]
    assert [one["defaultFields"]["firstName"] for one in listed] == ["Ada0", "Ada1", "Ada2"]
    assert rest["nextPageToken"] is None
    assert fields["data"] == FIELDS
    (roof,) = listed[0]["customFields"]
    assert (roof["name"], roof["value"]) == ("Roof", "slate")
    check_response("GET /v1/contacts", 200, first)
    check_response("GET /v1/contact-custom-fields", 200, fields)


async def test_page_size_over_the_providers_maximum_is_refused() -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.get("/v1/contacts?maxResults=51")

    assert answer.status_code == 400


async def test_reset_empties_the_address_book() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control("/contacts", {"contacts": [{"firstName": "Ada"}]})
        await sandbox.control("/reset", {})

        answer = (await sandbox.http.get(URL)).json()

    assert answer["data"] == []
