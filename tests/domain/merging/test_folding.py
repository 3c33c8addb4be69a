"""Fields of several contacts in one, and taken apart again."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.contacts.schemas import MAX_ATTRIBUTES, MAX_TAGS
from crm_api.domain.merging.folding import FIELDS, fold, unfold

VALUES = st.fixed_dictionaries(
    {name: st.sampled_from([None, "a", "b"]) for name in FIELDS}
    | {
        "tags": st.lists(st.sampled_from("abcd"), unique=True),
        "attributes": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2)),
    }
)


def contact(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(FIELDS) | {"tags": [], "attributes": {}} | values


@given(VALUES, st.lists(VALUES, max_size=4))
def test_what_was_folded_and_not_edited_unfolds_to_what_it_was(
    primary: dict[str, Any], duplicates: list[dict[str, Any]]
) -> None:
    after = fold(primary, duplicates)

    assert after | unfold(after, primary, after, []) == primary
    assert all(after[name] == primary[name] for name in FIELDS if primary[name])
    assert after["attributes"].items() >= primary["attributes"].items()


@given(VALUES, st.lists(VALUES, max_size=3), VALUES)
def test_what_was_edited_since_stays(
    primary: dict[str, Any], duplicates: list[dict[str, Any]], edited: dict[str, Any]
) -> None:
    after = fold(primary, duplicates)

    left = edited | unfold(edited, primary, after, [])

    for name in FIELDS:
        if edited[name] != after[name]:
            assert left[name] == edited[name]


def test_folding_keeps_to_the_limits_of_a_contact() -> None:
    primary = contact(tags=["mine"], attributes={"mine": 1})
    others = [
        contact(
            tags=[f"{place}-{count}" for count in range(MAX_TAGS)],
            attributes={f"{place}-{count}": "x" * 100 for count in range(MAX_ATTRIBUTES)},
        )
        for place in range(3)
    ]

    after = fold(primary, others)

    assert len(after["tags"]) == MAX_TAGS
    assert len(after["attributes"]) == MAX_ATTRIBUTES
    assert after["tags"][0] == "mine"
    assert after["attributes"]["mine"] == 1


def test_what_another_merge_gave_too_stays() -> None:
    before, duplicate = contact(), contact(tags=["roof"], attributes={"beds": 3})
    after = fold(before, [duplicate])

    changes = unfold(after, before, after, [duplicate])

    assert changes == {}
