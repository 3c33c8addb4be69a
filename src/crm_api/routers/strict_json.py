"""JSON as every reader understands it alike: I-JSON (RFC 7493), and no deeper than needed.

What differs from reader to reader is refused instead of guessed: a name that comes twice in one
object (some take the first, some the last), ``NaN`` and ``Infinity`` (no JSON, but Python reads
them), whole numbers beyond 2^53 (JavaScript rounds them, so a frontend would read back another
number than was sent; as text they stay exact), and numbers too large for any float.

Source: RFC 7493, sections 2.1 to 2.3, read 2026-11-26.
"""

import json
import math
from collections import Counter
from typing import Any, NoReturn

from crm_api.domain.errors import FieldProblem, InvalidError, MalformedError
from crm_api.domain.faults import pointer_to

LARGEST_NUMBER = 2**53 - 1
"""The largest whole number of which a double still knows the neighbours."""
DEEPEST = 64
"""Levels; a rule of a segment, the deepest that is taken, has far fewer."""
_SAFE_DIGITS = 15
"""A whole number of so many characters is within the limit for sure."""


class MalformedJsonError(MalformedError):
    """The body is no JSON, or none that every reader understands alike."""

    code = "malformed_json"
    title = "Malformed JSON"


class UnusableJsonError(InvalidError):
    """The body is JSON, but deeper than is read, or with a number that loses digits."""

    code = "validation_failed"
    title = "Invalid input"


class _TooLarge(int):
    """Stands where a number is too large to be read; found when its place is looked for."""


def check(body: bytes) -> None:
    """Refuse what is no I-JSON.

    Raises:
        MalformedJsonError: It is no JSON in UTF-8, or a name comes twice.
        UnusableJsonError: It is nested too deeply, or a number is out of range.
    """
    has_large = False

    def read_int(text: str) -> int:
        nonlocal has_large
        if len(text) <= _SAFE_DIGITS:
            return int(text)
        # Not all digits are read: int() takes its time with many, and refuses a great many.
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
            "The body is not valid JSON in UTF-8; send it as application/json."
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
            f"The name {json.dumps(twice[:100])} comes twice in one object; which of its values "
            "is meant cannot be known. Send it once."
        )
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is no JSON; send null, or a number.")


def _look_through(value: Any) -> None:  # noqa: ANN401 - JSON
    """Refuse what is too deep, and numbers out of range, with the place of each."""
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
            f"{len(faults)} fault(s); the first at {faults[-1].pointer}.", errors=faults[::-1]
        )


def _out_of_range(path: tuple[int | str, ...]) -> FieldProblem:
    return FieldProblem(
        pointer=pointer_to(path or ("",)),
        code="number_out_of_range",
        detail=f"A number goes up to {LARGEST_NUMBER} (2^53 - 1): beyond it JavaScript loses "
        "digits. Send it as text, in quotes.",
    )


def _too_deep() -> UnusableJsonError:
    detail = f"The JSON is nested too deeply to be read; {DEEPEST} levels are taken."
    return UnusableJsonError(
        detail, errors=[FieldProblem(pointer="", code="too_deep", detail=detail)]
    )
