"""The text type refuses invalid texts. Every field with a maximum length has this type."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from annotated_types import MaxLen
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from crm_api.app import own_routes
from crm_api.domain.kit.fields import Line200, Text

LINE = TypeAdapter[str](Line200)
LINES = TypeAdapter[str](Annotated[str, Text(shortest=1, longest=20, has_lines=True)])


CONTROL = "control_character: The text contains the control character"


def faults(adapter: TypeAdapter[str], value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    return [f"{fault['type']}: {fault['msg']}" for fault in caught.value.errors()]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a\x07b", f"{CONTROL} U+0007 at position 2"),
        ("a\x7fb", f"{CONTROL} U+007F at position 2"),
        ("ab\x85c", f"{CONTROL} U+0085 at position 3"),
        ("a\u2028b", f"{CONTROL} U+2028"),
        (" a\nb", "control_character: This field takes one line; remove the line break"),
        ("a\tb", "control_character: This field takes one line"),
        ("a\x00b", "nul_character"),
        ("a\ud800b", "string_unicode"),
        ("x" * 200 + "\x07", "string_too_long: String should have at most 200 characters"),
        ("x" * 200 + " ", "string_too_long"),
    ],
)  # fmt: skip
def test_line_with_control_characters_or_too_much_text_is_refused(text: str, fault: str) -> None:
    (found,) = faults(LINE, text)

    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("  Ada \n", "Ada"), ("Zoë 👩‍👩‍👧", "Zoë 👩‍👩‍👧"), ("x" * 200, "x" * 200), ("", "")],
)
def test_line_is_stored_without_the_space_around_it(text: str, kept: str) -> None:
    assert LINE.validate_python(text) == kept


def test_text_of_several_lines_keeps_its_line_breaks() -> None:
    assert LINES.validate_python("one\n\ttwo\r\nthree ") == "one\n\ttwo\r\nthree"
    assert faults(LINES, "a\x1bb")[0].startswith("control_character")
    assert faults(LINES, " \n ")[0].startswith("string_too_short")
    assert faults(LINES, 7)[0].startswith("string_type")


def limited_texts(
    annotation: object, path: str, seen: set[type]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the path and the constraints of each text field that has a maximum length."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        if inner is str and any(
            isinstance(one, Text | MaxLen)
            or (isinstance(one, StringConstraints) and one.max_length is not None)
            for one in metadata
        ):
            yield path, metadata
            return
        yield from limited_texts(inner, path, seen)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for name, field in annotation.model_fields.items():
                whole: Any = field.annotation
                for one in field.metadata:
                    whole = Annotated[whole, one]
                yield from limited_texts(whole, f"{annotation.__name__}.{name}", seen)
    else:
        for part in get_args(annotation):
            yield from limited_texts(part, path, seen)


def test_every_field_with_a_maximum_length_has_the_text_type() -> None:
    seen: set[type] = set()
    others = set()
    count = 0
    for route in own_routes():
        if route.body_field is None:
            continue
        for path, metadata in limited_texts(
            route.body_field.field_info.annotation, route.name, seen
        ):
            count += 1
            if not any(isinstance(one, Text) for one in metadata):
                others.add(path)
    others -= {
        path for path in others if path == "SignInForm.password"
    }  # a password is accepted as typed

    assert count > 20
    assert others == set()
