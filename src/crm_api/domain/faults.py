"""What a schema does not take, told as faults with JSON pointers."""

from collections.abc import Iterable, Sequence

from pydantic_core import ErrorDetails

from crm_api.domain.errors import FieldProblem


def pointer_to(path: Sequence[int | str]) -> str:
    """Return the JSON pointer of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def faults_of(errors: Iterable[ErrorDetails], *, pointer: str = "") -> list[FieldProblem]:
    """Tell each of a schema's errors; ``pointer`` leads to what was read by it."""
    return [
        FieldProblem(
            pointer=pointer + pointer_to(error["loc"]),
            code="unknown_field" if error["type"] == "extra_forbidden" else error["type"],
            detail=error["msg"].removeprefix("Value error, "),
        )
        for error in errors
    ]
