"""Imports as the API shows them, and the options of an upload."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from crm_api.domain.errors import FieldProblem
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.transfer.errors import ImportOptionError
from crm_api.domain.transfer.models import ImportSourceKind, OnDuplicate


def _read_json(value: object) -> object:
    """Read a form field's JSON; a JSON body has the object itself."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise PydanticCustomError("json_invalid", "This is no JSON.") from error


def _refuse_number(value: Any) -> Any:  # noqa: ANN401 - a form's text, or whatever JSON holds
    """Refuse 0 and 1, which are no booleans of JSON."""
    if type(value) in (int, float):
        raise PydanticCustomError("bool_type", "Give true or false.")
    return value


class ImportOptions(RequestModel):
    """What an upload may say beside its file; in a form every value comes as text."""

    source: ImportSourceKind = ImportSourceKind.FILE
    """``openphone`` takes the provider's contacts instead of a file."""
    list_name: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """Everyone in the file is put on the list of this name, which is made when there is none."""
    list_id: UUID | None = None
    mapping: Annotated[dict[str, str | None] | None, BeforeValidator(_read_json)] = None
    """Column to field; null leaves the column out."""
    dry_run: Annotated[bool, BeforeValidator(_refuse_number)] = False
    """Count what would happen, and change nothing."""
    on_duplicate: OnDuplicate = OnDuplicate.FILL


class ImportCorrection(RequestModel):
    """What a dry run is to be tried with instead; what is left out stays."""

    mapping: dict[str, str | None] | None = None
    on_duplicate: OnDuplicate | None = None
    list_name: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    list_id: UUID | None = None


class ColumnRead(ReadModel):
    """What one column is taken for; one of low confidence is worth a look."""

    column: str
    field: str | None
    confidence: str
    told_by: str
    fits: int | None
    """Of the first values, how many in a hundred look like the field's."""
    examples: list[str]


class ChangeRead(ReadModel):
    """How often a field is set where there was nothing, and where there was something else."""

    filled: int
    overwritten: int


class ValueRead(ReadModel):
    """A field of one person, before and after."""

    before: Any
    after: Any


class ExampleRead(ReadModel):
    """One person of the file who is new or changes."""

    line: int
    phone: str
    contact_id: Id | None
    outcome: str
    changes: dict[str, ValueRead]


class UndoRead(ReadModel):
    """How far an import is taken back, and what of it stays."""

    status: str
    removed: int
    restored: int
    memberships_removed: int
    left_edited: int
    left_in_use: int


class ImportRead(ReadModel):
    """One import; ``rows_total`` is null until the file was counted."""

    id: Id
    status: str
    source: str
    file_name: str | None
    rows_sha256: str | None
    detected_format: str | None
    mapping: dict[str, str | None]
    on_duplicate: str
    dry_run: bool
    rows_total: int | None
    rows_processed: int
    created: int
    updated: int
    unchanged: int
    duplicates_in_file: int
    invalid: int
    dry_run_id: Id | None
    changed_since_dry_run: int
    changes: dict[str, ChangeRead]
    undo: UndoRead | None
    undone_at: Instant | None
    list_id: Id | None
    list_name: str | None
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    error: str | None


class ImportDetail(ImportRead):
    """One import with its columns, and examples of what it does.

    A column that is taken for the wrong thing is corrected with ``PATCH`` on the dry run, or by a
    new upload with ``mapping``.
    """

    columns: list[ColumnRead]
    notes: list[str]
    sample: list[ExampleRead]


def read_options(fields: Mapping[str, Any]) -> ImportOptions:
    """Read the form's fields, or those of a JSON object; an empty one counts as left out.

    Raises:
        ImportOptionError: With one problem for each field.
    """
    given = {
        name: value
        for name, value in fields.items()
        if not (isinstance(value, str) and not value.strip())
    }
    try:
        options = ImportOptions.model_validate(given)
    except ValidationError as error:
        faults = [
            FieldProblem(
                pointer="/" + "/".join(str(part) for part in fault["loc"]),
                code="unknown_field" if fault["type"] == "extra_forbidden" else fault["type"],
                detail=fault["msg"],
            )
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ImportOptionError(f"{len(faults)} option(s) are wrong.", errors=faults) from None
    check_list(options.list_name, options.list_id)
    return options


def check_list(list_name: str | None, list_id: UUID | None) -> None:
    """Refuse two answers to the question where people are put.

    Raises:
        ImportOptionError: Both are given.
    """
    if list_name and list_id:
        raise _wrong("/list_id", "Give list_name or list_id, not both.")


def unknown_list() -> ImportOptionError:
    """Make the error for a ``list_id`` that does not exist."""
    return _wrong("/list_id", "There is no list with this id.", code="unknown_list")


def _wrong(pointer: str, detail: str, *, code: str = "conflicting_fields") -> ImportOptionError:
    return ImportOptionError(
        detail, errors=[FieldProblem(pointer=pointer, code=code, detail=detail)]
    )
