"""Values of custom fields, by type: accepted values, their stored form, and refused values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.people.custom_fields.attribute_checks import Definition, Definitions
from crm_api.domain.people.custom_fields.value_types import MAX_TEXT, MisfitError, normalise
from crm_api.domain.people.models.contacts import FieldType

ROOFS = ("Slate", "Shingle", "Tar & gravel")


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("text", "  two words ", "two words"),
        ("text", 1987, "1987"),
        ("text", 12.5, "12.5"),
        ("text", 1987.0, "1987"),
        ("text", True, "true"),
        ("integer", 1987, 1987),
        ("integer", "1987", 1987),
        ("integer", " 1,987 ", 1987),
        ("integer", "$350,000", 350_000),
        ("integer", "-12", -12),
        ("integer", 42.0, 42),
        ("integer", "42.00", 42),
        ("number", "1,250.50", 1250.5),
        ("number", "$12.50", 12.5),
        ("number", ".5", 0.5),
        ("number", "-0.25", -0.25),
        ("number", 7, 7),
        ("number", 7.0, 7),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("boolean", 1, True),
        ("boolean", False, False),
        ("date", "2026-11-25", "2026-11-25"),
        ("date", "11/5/2026", "2026-11-05"),
        ("date", "2026-11-25T00:00:00Z", "2026-11-25"),
        ("date", "2026-11-25 14:30:00", "2026-11-25"),
        ("choice", "tar & GRAVEL", "Tar & gravel"),
        ("url", "example.com", "https://example.com"),
        ("url", "HTTP://Example.com/Roof?x=1#top", "http://example.com/Roof?x=1#top"),
        ("url", "https://localhost:8000/a", "https://localhost:8000/a"),
        ("email", "Ada@EXAMPLE.com", "Ada@example.com"),
    ],
)
def test_value_is_stored_in_the_form_of_its_type(kind: str, value: Any, stored: Any) -> None:
    found = normalise(value, FieldType(kind), ROOFS)

    assert found == stored
    assert type(found) is type(stored)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", ["a"]),
        ("text", {"a": 1}),
        ("text", "x" * (MAX_TEXT + 1)),
        ("integer", "about 1987"),
        ("integer", "19.5"),
        ("integer", True),
        ("integer", "1,98"),
        ("integer", 2**53),
        ("integer", "9" * 400),
        ("integer", "$"),
        ("integer", "."),
        ("integer", "1e3"),
        ("integer", "\u0661\u0669\u0668\u0667"),
        ("number", "12.5.1"),
        ("number", 1e15),
        ("number", "nan"),
        ("number", False),
        ("boolean", "maybe"),
        ("boolean", 2),
        ("date", "2026-02-30"),
        ("date", "25/11/2026"),
        ("date", "11/25/26"),
        ("date", 20261125),
        ("choice", "Straw"),
        ("url", "javascript:alert(1)"),
        ("url", "ftp://example.com"),
        ("url", "not an address"),
        ("url", "https://example.com/" + "x" * 2048),
        ("url", 5),
        ("email", "ada"),
        ("email", "ada@@example.com"),
        ("email", "ada..rossi@example.com"),
        ("email", 5),
    ],
)
def test_value_of_the_wrong_type_is_refused_with_a_sentence(kind: str, value: Any) -> None:
    with pytest.raises(MisfitError, match=r"\.$"):
        normalise(value, FieldType(kind), ROOFS)


@pytest.mark.parametrize("kind", list(FieldType))
@pytest.mark.parametrize("value", ["", "   ", None])
def test_blank_value_is_none(kind: FieldType, value: Any) -> None:
    assert normalise(value, kind, ROOFS) is None


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=40),
        st.from_regex(r"[-+$]?[0-9,]{1,12}(\.[0-9]{0,4})?", fullmatch=True),
        st.dates().map(lambda day: day.isoformat()),
    ),
    st.sampled_from(FieldType),
)
def test_scalar_is_refused_or_its_stored_form_is_stable(value: Any, kind: FieldType) -> None:
    try:
        once = normalise(value, kind, ROOFS)
    except MisfitError:
        return

    again = normalise(once, kind, ROOFS)

    assert (again, type(again)) == (once, type(once))


def test_chunk_keeps_valid_values_and_returns_problems() -> None:
    year = Definition(name="year_built", type=FieldType.INTEGER)
    defined = Definitions({"year_built": year})

    rows = [{"year_built": "1,987", "roof": "slate"}, {"year_built": "old"}, {"year_built": " "}]

    read = [defined.normalise(row) for row in rows]

    assert [attributes for attributes, _ in read] == [{"year_built": 1987, "roof": "slate"}, {}, {}]
    [problem] = [problem for _, problems in read for problem in problems]
    assert (problem.name, problem.value, problem.code) == ("year_built", "old", "not_integer")
    assert problem.detail == "Give a whole number, such as 1987."
