"""The fields of several contacts are merged into one contact, and the merge is undone."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.people.contacts.schemas import MAX_ATTRIBUTES, MAX_TAGS
from crm_api.domain.people.deduplication.field_merge import merge_fields, undo_fields

VALUES = st.fixed_dictionaries(
    {name: st.sampled_from([None, "a", "b"]) for name in TEXT_COLUMNS}
    | {
        "tags": st.lists(st.sampled_from("abcd"), unique=True),
        "attributes": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2)),
    }
)


def make_fields(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(TEXT_COLUMNS) | {"tags": [], "attributes": {}} | values


@given(VALUES, st.lists(VALUES, max_size=4))
def test_undo_of_a_merge_without_edits_restores_the_original(
    primary: dict[str, Any], duplicates: list[dict[str, Any]]
) -> None:
    after = merge_fields(primary, duplicates)

    assert after | undo_fields(after, primary, after, []) == primary
    assert all(after[name] == primary[name] for name in TEXT_COLUMNS if primary[name])
    assert after["attributes"].items() >= primary["attributes"].items()


@given(VALUES, st.lists(VALUES, max_size=3), VALUES)
def test_undo_keeps_values_edited_since_the_merge(
    primary: dict[str, Any], duplicates: list[dict[str, Any]], edited: dict[str, Any]
) -> None:
    after = merge_fields(primary, duplicates)

    undone = edited | undo_fields(edited, primary, after, [])

    for name in TEXT_COLUMNS:
        if edited[name] != after[name]:
            assert undone[name] == edited[name]


def test_merged_fields_keep_the_limits_of_a_contact() -> None:
    primary = make_fields(tags=["mine"], attributes={"mine": 1})
    others = [
        make_fields(
            tags=[f"{position}-{count}" for count in range(MAX_TAGS)],
            attributes={f"{position}-{count}": "x" * 100 for count in range(MAX_ATTRIBUTES)},
        )
        for position in range(3)
    ]

    after = merge_fields(primary, others)

    assert len(after["tags"]) == MAX_TAGS
    assert len(after["attributes"]) == MAX_ATTRIBUTES
    assert after["tags"][0] == "mine"
    assert after["attributes"]["mine"] == 1


def test_undo_keeps_values_that_another_merge_also_gave() -> None:
    before, duplicate = make_fields(), make_fields(tags=["roof"], attributes={"beds": 3})
    after = merge_fields(before, [duplicate])

    changes = undo_fields(after, before, after, [duplicate])

    assert changes == {}
