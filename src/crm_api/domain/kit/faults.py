"""Convert the validation errors of pydantic to the ``FieldProblem`` objects of API responses."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from crm_api.domain.kit.errors import FieldProblem, InvalidError


def pointer_to(path: Sequence[int | str]) -> str:
    """Return the JSON pointer for a path of field names and list positions."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def faults_of(errors: Iterable[ErrorDetails], *, pointer: str = "") -> list[FieldProblem]:
    """Return one problem for each validation error of a pydantic model.

    Args:
        pointer: JSON pointer to the value that the model validated.
    """
    return [
        FieldProblem(
            pointer=pointer + pointer_to(error["loc"]),
            code="unknown_field" if error["type"] == "extra_forbidden" else error["type"],
            detail=error["msg"].removeprefix("Value error, "),
        )
        for error in errors
    ]


Options = TypeVar("Options", bound=BaseModel)


def read_form(
    model: type[Options], fields: Mapping[str, Any], *, error: type[InvalidError]
) -> Options:
    """Validate the fields of a form or of a JSON object. A blank text counts as a missing field.

    Raises:
        InvalidError: Some fields are not valid. The exception is an instance of ``error``, a
            subclass of ``InvalidError``.
    """
    given = {
        name: value
        for name, value in fields.items()
        if not (isinstance(value, str) and not value.strip())
    }
    try:
        return model.model_validate(given)
    except ValidationError as refused:
        faults = faults_of(refused.errors(include_url=False, include_input=False))
        raise error(
            f"{len(faults)} field(s) are not valid; `errors` lists them.", errors=faults
        ) from None
