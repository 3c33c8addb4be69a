"""Convert the validation errors of pydantic to the ``FieldProblem`` objects of API responses.

The location of an error in pydantic can have parts that are not part of the validated value: the
members of a union type, such as ``uuid``, and ``[key]`` for the name of a field.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from crm_api.domain.kit.errors import FieldProblem, InvalidError, pointer_to

_LONGEST_NAME = 100
_MOST_SUGGESTIONS = 3
"""Largest number of faults for which ``faults_of`` looks for a similar field name. The search is
slow, and a batch may have thousands of unknown names."""
_OBJECT = "Give a JSON object."
_DATE = "Give a date that exists, such as 2026-11-25."
_TIME = (
    "Give a time that exists, as ISO 8601 with Z or an offset, such as 2026-11-25T15:00:00Z or "
    "2026-11-25T10:00:00-05:00."
)
_NUMBER = "Give a number."
_DECIMAL = "Give a number, such as 0.05."
_ID = "Give an id (a UUID), as the API returns it."
_SENTENCES = {
    "bool_parsing": "Give true or false.",
    "bool_type": "Give true or false.",
    "date_from_datetime_inexact": "Give a date without a time, such as 2026-11-25.",
    "date_from_datetime_parsing": _DATE,
    "date_parsing": _DATE,
    "date_type": _DATE,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_parsing": _TIME,
    "datetime_type": _TIME,
    "decimal_max_digits": "Give a number of at most {max_digits} digits.",
    "decimal_max_places": "Give at most {decimal_places} digits after the decimal point.",
    "decimal_parsing": _DECIMAL,
    "decimal_type": _DECIMAL,
    "decimal_whole_digits": "Give at most {whole_digits} digits before the decimal point.",
    "dict_type": _OBJECT,
    "enum": "Give {expected}.",
    "finite_number": "Give a number that is not NaN and not infinite.",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "Give a value greater than {gt}.",
    "greater_than_equal": "Give a value of at least {ge}.",
    "int_from_float": "Give an integer, without a fractional part.",
    "int_parsing": "Give an integer.",
    "int_parsing_size": "Give an integer with fewer digits.",
    "int_type": "Give an integer.",
    "json_invalid": "The value is not valid JSON. Correct it.",
    "less_than": "Give a value less than {lt}.",
    "less_than_equal": "Give a value of at most {le}.",
    "list_type": "Give a list (a JSON array).",
    "literal_error": "Give {expected}.",
    "missing": "This value is required. Add it.",
    "model_attributes_type": _OBJECT,
    "model_type": _OBJECT,
    "multiple_of": "Give a multiple of {multiple_of}.",
    "none_required": "Give null.",
    "string_pattern_mismatch": "Give a string that matches the regular expression {pattern}.",
    "string_type": "Give a string.",
    "string_unicode": "The string has an unpaired surrogate, so it is not valid Unicode. Remove "
    "the surrogate.",
    "time_delta_parsing": 'Give a duration in ISO 8601 form, such as "P14D", "PT6H" or "PT90S".',
    "time_delta_type": 'Give a duration in ISO 8601 form, such as "P14D", "PT6H" or "PT90S".',
    "time_parsing": 'Give a time of day as "HH:MM".',
    "time_type": 'Give a time of day as "HH:MM".',
    "timezone_aware": "The time has no offset from UTC. Add Z or an offset such as -05:00, for "
    "example 2026-11-25T15:00:00Z.",
    "too_long": "Give at most {max_length} items.",
    "too_short": "Give at least {min_length} items.",
    "union_tag_invalid": "Give one of these: {expected_tags}.",
    "union_tag_not_found": "The field {discriminator} is required. Add it.",
    "uuid_parsing": _ID,
    "uuid_type": _ID,
    "uuid_version": _ID,
}
"""The sentence for each type of error that a request can cause. Other code uses some of these types
too.

Four more types can occur. ``_unknown_field`` writes the sentence of ``extra_forbidden``.
``sentence_for`` uses the sentence of the validator for ``value_error``. ``string_too_long`` and
``string_too_short`` keep the sentences of pydantic, which the console translates.
"""
_ENUM_MEMBER = re.compile(r"<\w+\.\w+: ('[^']*')>")
_MISSING = {"missing", "union_tag_not_found"}
_NO_BODY = "The request has no body. Send a JSON object."


@dataclass(frozen=True, kw_only=True)
class LocatedError:
    """A validation error, and where it is in the validated value.

    Attributes:
        path: The field names and list positions that lead to the wrong value.
        union: The number of parts of ``path`` that lead to a value of a union type, if the error
            comes from one member of this type; otherwise None.
        is_of_name: True if the last part of ``path`` is itself wrong, because an object must not
            have this name.
    """

    error: ErrorDetails
    path: tuple[int | str, ...]
    union: int | None = None
    is_of_name: bool = False


def locate(error: ErrorDetails, value: object) -> LocatedError:
    """Remove the parts of an error's location that are not part of the validated value.

    Args:
        value: The value that was validated. If a validator has parsed a text in this value,
            the part of the location inside the text is not changed.
    """
    parts = error["loc"]
    given = error.get("input")
    is_of_name = len(parts) > 1 and parts[-1] == "[key]" and parts[-2] == given
    if is_of_name:
        parts = parts[:-1]
    path: list[int | str] = []
    union = None
    for index, part in enumerate(parts):
        is_missing = error["type"] in _MISSING and index == len(parts) - 1
        if is_missing or _has(value, part):
            path.append(part)
            value = None if is_missing else value[part]  # type: ignore[index]  # ``_has`` is true
        elif isinstance(value, (Mapping, list)) or value == given:
            union = len(path) if union is None else union
        else:
            path += parts[index:]
            break
    return LocatedError(error=error, path=tuple(path), union=union, is_of_name=is_of_name)


def locate_parameter(error: ErrorDetails) -> LocatedError:
    """Return where an error in a parameter is: the name of the parameter, then list positions."""
    name, *rest = error["loc"]
    path = (name, *(part for part in rest if isinstance(part, int)))
    union = len(path) if len(path) < len(error["loc"]) else None
    return LocatedError(error=error, path=path, union=union)


def _has(value: object, part: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and 0 <= part < len(value)
    return isinstance(value, Mapping) and part in value


def join_unions(errors: Iterable[LocatedError]) -> list[list[LocatedError]]:
    """Group the errors so that each group becomes one fault of the response.

    Pydantic reports a value of a union type once for each member of the type. These errors become
    one group. But if the value fits the type of a member, only the errors of this member are kept:
    for example, that the text is too long.
    """
    groups: dict[object, list[LocatedError]] = {}
    for index, one in enumerate(errors):
        key = index if one.union is None else one.path[: one.union]
        groups.setdefault(key, []).append(one)
    found = []
    for group in groups.values():
        fitting = [one for one in group if one.union is not None and _fits_type(one)]
        found += [[one] for one in fitting] or [group]
    return found


def _fits_type(one: LocatedError) -> bool:
    kind = one.error["type"]
    is_of_type = kind.endswith(("_type", "_parsing")) or kind in {"enum", "literal_error"}
    return one.union != len(one.path) or not is_of_type


def sentence_of(group: Sequence[LocatedError], *, model: Any = None) -> str:  # noqa: ANN401 - a type
    """Return the sentence that says what to do about a group of ``join_unions``.

    Args:
        model: The type of the validated value, to find the name that a wrong name may mean.
    """
    first = group[0]
    sentences = list(dict.fromkeys(sentence_for(one.error) for one in group))
    if first.error["type"] == "extra_forbidden":
        return _unknown_field(first.path, model)
    if first.error["type"] == "missing" and first.path in {(), ("",)}:
        return _NO_BODY
    if first.is_of_name:
        return f"The name of this field is not valid. {sentences[0]}"
    if len(sentences) > 1 and all(one.startswith("Give ") for one in sentences):
        return f"Give {', or '.join(one[5:].removesuffix('.') for one in sentences)}."
    return sentences[0]


def sentence_for(error: ErrorDetails) -> str:
    """Return the sentence for one validation error, without regard to its location."""
    context = dict(error.get("ctx", {}))
    if "expected" in context:
        context["expected"] = _as_in_json(context["expected"])
    if error["type"] == "value_error" and "reason" in context:
        return f"Give a valid e-mail address. {context['reason']}"
    try:
        sentence = _SENTENCES.get(error["type"], "").format_map(context)
    except KeyError:
        # The validator of a field has raised an error of this type with its own sentence.
        sentence = ""
    sentence = sentence.replace(" 1 items.", " 1 item.").replace(" 1 digits", " 1 digit")
    return sentence or error["msg"].removeprefix("Value error, ")


def _as_in_json(expected: str) -> str:
    """Remove what only Python has from allowed values, such as ``True`` or an enum member."""
    if expected in {"True", "False"}:
        return expected.lower()
    return _ENUM_MEMBER.sub(r"\1", expected)


def _unknown_field(path: Sequence[int | str], model: Any) -> str:  # noqa: ANN401 - a type
    name = str(path[-1])[:_LONGEST_NAME]
    meant = difflib.get_close_matches(name, _names_at(model, path[:-1]), n=1)
    step = f"Did you mean `{meant[0]}`?" if meant else "Remove it."
    return f"The field `{name}` does not exist here. {step}"


def _names_at(model: Any, path: Sequence[int | str]) -> list[str]:  # noqa: ANN401 - a type
    """Return the names of the fields that the object at ``path`` may have."""
    kinds = [model]
    for part in path:
        if isinstance(part, str):
            inner = [
                field.annotation
                for one in _models(kinds)
                for name, field in one.model_fields.items()
                if part == (field.alias or name)
            ]
            # Without such a field, the part is a name in a dict. ``kinds`` has the dict's type.
            kinds = inner or kinds
    return [
        field.alias or name for one in _models(kinds) for name, field in one.model_fields.items()
    ]


def _models(kinds: Iterable[Any]) -> Iterator[type[BaseModel]]:
    """Yield the models in types such as ``list[Item] | None``."""
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        yield from _models(get_args(kind))


def faults_of(
    errors: Iterable[ErrorDetails],
    *,
    value: object,
    model: Any = None,  # noqa: ANN401 - a type
) -> list[FieldProblem]:
    """Return one problem for each value that pydantic refused.

    Args:
        value: The value that was validated.
        model: Its type, to find the name that an unknown name may mean.
    """
    found = join_unions(locate(error, value) for error in errors)
    return [
        fault_of(group, model=model if index < _MOST_SUGGESTIONS else None)
        for index, group in enumerate(found)
    ]


def fault_of(group: Sequence[LocatedError], *, model: Any = None) -> FieldProblem:  # noqa: ANN401 - a type
    """Return the problem for a group of validation errors that ``join_unions`` returned."""
    first = group[0]
    kind = first.error["type"]
    return FieldProblem(
        pointer=pointer_to(first.path),
        code="unknown_field" if kind == "extra_forbidden" else kind,
        detail=sentence_of(group, model=model),
    )


Options = TypeVar("Options", bound=BaseModel)


def read_form(
    model: type[Options], fields: Mapping[str, Any], *, error: type[InvalidError]
) -> Options:
    """Validate the fields of a form or of a JSON object. A blank text counts as a missing field.

    Raises:
        InvalidError: Some fields are not valid. The raised error is of the class ``error``.
    """
    given = {
        name: value
        for name, value in fields.items()
        if not (isinstance(value, str) and not value.strip())
    }
    try:
        return model.model_validate(given)
    except ValidationError as refused:
        faults = faults_of(refused.errors(include_url=False), value=given, model=model)
        raise error(
            f"{len(faults)} field(s) are not valid; `errors` lists them.", errors=faults
        ) from None
