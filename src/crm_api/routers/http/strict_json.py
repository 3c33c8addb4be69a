"""Accept only JSON that every parser reads the same way: I-JSON (RFC 7493), with limited depth.

The following is refused:

- The same name twice in one object.
- ``NaN`` and ``Infinity``, which Python reads.
- Integers beyond 2^53 - 1, which JavaScript rounds. Fields of any type, such as the values in
  ``attributes``, accept them as strings.
- Numbers that are too large for a float.

Source: RFC 7493, sections 2.1 to 2.3, read 2026-11-26.
"""

import json
import math
from collections import Counter
from typing import Any, NoReturn

from crm_api.domain.kit.errors import (
    Example,
    FieldProblem,
    InvalidError,
    MalformedError,
    pointer_to,
)
from crm_api.routers.http import problems

LARGEST_NUMBER = 2**53 - 1
"""Largest integer that JSON clients represent exactly (2^53 - 1)."""
DEEPEST = 64
"""Largest accepted number of nested levels in JSON. The API needs far fewer levels: the rules of a
segment are the JSON with the most levels."""
_SAFE_DIGITS = 15
"""A number of characters. An integer with at most so many characters is always smaller than
``LARGEST_NUMBER``."""

_OF_ANY_TYPE = frozenset({"attributes", "evidence"})
"""Names of the fields whose values may have any type, so a string may replace a number."""

_TOO_DEEP = FieldProblem(
    pointer="",
    code="too_deep",
    detail=f"The JSON in the request body has more than {DEEPEST} nested levels. Send at most "
    f"{DEEPEST} levels.",
)


class MalformedJsonError(MalformedError):
    """The request body is not valid JSON, or an object in it has the same name twice."""

    code = "malformed_json"
    title = "Malformed JSON"
    detail = (
        "The request body is not valid JSON in UTF-8. Correct it and send it as application/json."
    )


class UnusableJsonError(InvalidError):
    """The JSON is nested too deeply, or a number is too large to be read exactly."""

    code = "validation_failed"
    title = "Invalid input"
    example = Example(_TOO_DEEP.detail, errors=[_TOO_DEEP])


class _TooLarge(int):
    """Placeholder for a number that is too large.

    The parser does not know the position of the number in the body. Later, the function
    ``_look_through()`` finds the placeholder and its position.
    """


def check(body: bytes) -> None:
    """Refuse a body that is not I-JSON.

    Raises:
        MalformedJsonError: The body is not JSON in UTF-8, or an object has a name twice.
        UnusableJsonError: The JSON is nested too deeply, or a number is out of range.
    """
    has_large = False

    def read_int(text: str) -> int:
        nonlocal has_large
        if len(text) <= _SAFE_DIGITS:
            return int(text)
        # Very long numbers are not parsed. The function int() is slow for many digits, and raises
        # an error for thousands of digits.
        if len(text) <= 2 * _SAFE_DIGITS and abs(int(text)) <= LARGEST_NUMBER:
            return int(text)
        has_large = True
        return _TooLarge()

    def read_float(text: str) -> float:
        nonlocal has_large
        number = float(text)
        if math.isinf(number):
            has_large = True
            return _TooLarge()
        return number

    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_int=read_int,
            parse_float=read_float,
            parse_constant=_refuse_constant,
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MalformedJsonError from error
    except RecursionError as error:
        raise _too_deep() from error
    if has_large or body.count(b"{") + body.count(b"[") > DEEPEST:
        _look_through(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise MalformedJsonError(
            f"The name {json.dumps(twice[:100])} occurs twice in one JSON object, so its value is "
            "ambiguous. Send each name once."
        )
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(
        f"The request body contains {name}, which is not valid JSON. Send null or a number."
    )


def _look_through(value: Any) -> None:  # noqa: ANN401 - JSON
    """Refuse JSON that is nested too deeply, or that contains a ``_TooLarge`` placeholder.

    Raises:
        UnusableJsonError: The JSON is too deep, or has numbers that are too large. The error has a
            JSON pointer to each of these numbers.
    """
    faults: list[FieldProblem] = []
    waiting: list[tuple[Any, tuple[int | str, ...]]] = [(value, ())]
    while waiting:
        one, path = waiting.pop()
        if isinstance(one, _TooLarge):
            faults.append(_out_of_range(path))
        if not isinstance(one, (dict, list)):
            continue
        if len(path) >= DEEPEST:
            raise _too_deep()
        inside = one.items() if isinstance(one, dict) else enumerate(one)
        waiting += [(member, (*path, name)) for name, member in inside]
    if faults:
        raise UnusableJsonError(
            problems.describe_faults(len(faults), first=faults[-1].pointer), errors=faults[::-1]
        )


def _out_of_range(path: tuple[int | str, ...]) -> FieldProblem:
    is_of_any_type = not _OF_ANY_TYPE.isdisjoint(path)
    return FieldProblem(
        pointer=pointer_to(path or ("",)),
        code="number_out_of_range",
        detail="Some clients would round this number. Give a number from "
        f"-{LARGEST_NUMBER} to {LARGEST_NUMBER}"
        + (
            ", or a string."
            if is_of_any_type
            else ". Many fields allow only smaller numbers: see the operation in GET /docs."
        ),
    )


def _too_deep() -> UnusableJsonError:
    return UnusableJsonError(_TOO_DEEP.detail, errors=[_TOO_DEEP])
