"""What an import changes in a contact that exists."""

from typing import Any

from crm_api.domain.transfer.merging import CONTENT, merge
from crm_api.domain.transfer.models import OnDuplicate
from crm_api.domain.transfer.rows import PersonRow

FILL, OVERWRITE, SKIP = OnDuplicate.FILL, OnDuplicate.OVERWRITE, OnDuplicate.SKIP


def stored(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(CONTENT), "tags": [], "attributes": {}, **values}


def person(**values: Any) -> PersonRow:
    return PersonRow(line=2, phone="+16175550101", **values)


def test_fill_sets_only_what_is_empty() -> None:
    merged = merge(
        stored(first_name="Ada", email=""),
        person(first_name="Eva", last_name="Rossi", email="ada@example.com"),
        FILL,
    )

    assert merged is not None
    assert (merged["first_name"], merged["last_name"]) == ("Ada", "Rossi")
    assert merged["email"] == "ada@example.com"


def test_overwrite_sets_what_the_file_says_and_keeps_the_rest() -> None:
    merged = merge(stored(first_name="Ada", company="Granite"), person(first_name="Eva"), OVERWRITE)

    assert merged is not None
    assert (merged["first_name"], merged["company"]) == ("Eva", "Granite")


def test_skip_changes_nothing() -> None:
    assert merge(stored(), person(first_name="Eva"), SKIP) is None


def test_nothing_new_is_no_change() -> None:
    old = stored(first_name="Ada", tags=["vip"], attributes={"roof": "slate"})
    same = person(first_name="Ada", tags=["vip"], attributes={"roof": "slate"})

    assert merge(old, same, FILL) is None
    assert merge(old, same, OVERWRITE) is None


def test_attributes_and_tags_are_joined() -> None:
    old = stored(tags=["vip"], attributes={"roof": "slate"})
    new = person(tags=["spring", "vip"], attributes={"roof": "tin", "beds": "3"})

    filled, overwritten = merge(old, new, FILL), merge(old, new, OVERWRITE)

    assert filled is not None
    assert overwritten is not None
    assert filled["tags"] == overwritten["tags"] == ["vip", "spring"]
    assert filled["attributes"] == {"roof": "slate", "beds": "3"}
    assert overwritten["attributes"] == {"roof": "tin", "beds": "3"}


def test_fill_completes_an_address_but_never_mixes_two() -> None:
    completed = merge(stored(city="quincy"), person(city="Quincy", state="MA"), FILL)
    mixed = merge(stored(city="Boston"), person(city="Miami", state="FL"), FILL)

    assert completed is not None
    assert (completed["city"], completed["state"]) == ("quincy", "MA")
    assert mixed is None


def test_zone_follows_the_address() -> None:
    merged = merge(stored(), person(state="CA"), FILL)

    assert merged is not None
    assert merged["zone_key"] == "CA,MA/America/Los_Angeles,America/New_York"
