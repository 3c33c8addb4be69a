"""Accept only JSON that every parser reads the same way: I-JSON (RFC 7493), with limited depth.

Input that parsers read differently is refused: a name that occurs twice in one object (some parsers
use the first, some the last), ``NaN`` and ``Infinity`` (not JSON, but Python reads them), integers
beyond 2^53 (JavaScript rounds them, so a frontend would get back a different number; as strings
they stay exact), and numbers too large for a float.

Source: RFC 7493, sections 2.1 to 2.3, read 2026-11-26.
"""

import json
import math
from collections import Counter
from typing import Any, NoReturn

from crm_api.domain.kit.errors import FieldProblem, InvalidError, MalformedError
from crm_api.domain.kit.faults import pointer_to

LARGEST_NUMBER = 2**53 - 1
"""Largest integer that JSON clients represent exactly (2^53 - 1)."""
DEEPEST = 64
"""Maximum levels of nesting. The deepest valid body, a segment's rules, has far fewer."""
_SAFE_DIGITS = 15
"""An integer with at most this many characters is always within the limit."""


class MalformedJsonError(MalformedError):
    """The body is not valid JSON, or parsers would read it differently."""

    code = "malformed_json"
    title = "Malformed JSON"


class UnusableJsonError(InvalidError):
    """The JSON is nested too deeply, or has a number that would lose digits."""

    code = "validation_failed"
    title = "Invalid input"


class _TooLarge(int):
    """Placeholder for a number that is too large; ``_look_through`` then finds its pointer."""


def check(body: bytes) -> None:
    """Refuse a body that is not I-JSON.

    Raises:
        MalformedJsonError: It is not JSON in UTF-8, or an object has a name twice.
        UnusableJsonError: It is nested too deeply, or a number is out of range.
    """
    has_large = False

    def read_int(text: str) -> int:
        nonlocal has_large
        if len(text) <= _SAFE_DIGITS:
            return int(text)
        # int() is slow for many digits and raises for thousands, so longer numbers are not read.
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
        raise MalformedJsonError(
            "The body is not valid JSON in UTF-8. Correct it and send it as application/json."
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    if has_large or body.count(b"{") + body.count(b"[") > DEEPEST:
        _look_through(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise MalformedJsonError(
            f"The name {json.dumps(twice[:100])} occurs twice in one object, so its value is "
            "ambiguous. Send it once."
        )
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is not valid JSON. Send null or a number.")


def _look_through(value: Any) -> None:  # noqa: ANN401 - JSON
    """Refuse a value that is nested too deeply or has numbers out of range, with pointers.

    Raises:
        UnusableJsonError: At least one of these faults was found.
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
            f"The request has {len(faults)} fault(s). The first is at {faults[-1].pointer}.",
            errors=faults[::-1],
        )


def _out_of_range(path: tuple[int | str, ...]) -> FieldProblem:
    return FieldProblem(
        pointer=pointer_to(path or ("",)),
        code="number_out_of_range",
        detail=f"The number is larger than {LARGEST_NUMBER} (2^53 - 1), so JavaScript would round "
        "it. Send it as a string.",
    )


def _too_deep() -> UnusableJsonError:
    detail = f"The JSON is nested too deeply. Send at most {DEEPEST} levels."
    return UnusableJsonError(
        detail, errors=[FieldProblem(pointer="", code="too_deep", detail=detail)]
    )
