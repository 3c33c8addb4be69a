"""Request and response models of imports."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from crm_api.domain.imports.contacts.column_values import ColumnBasis
from crm_api.domain.imports.contacts.errors import ImportOptionError
from crm_api.domain.imports.contacts.models import ImportSourceKind, OnDuplicate, UndoState
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.faults import read_form
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary


def _read_json(value: object) -> object:
    """Parse the JSON of a form field; a JSON body already has the object."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise PydanticCustomError("json_invalid", "This is not JSON.") from error


def _refuse_number(value: Any) -> Any:  # noqa: ANN401 - a form's text, or any JSON value
    """Refuse 0 and 1, which are not booleans in JSON."""
    if type(value) in (int, float):
        raise PydanticCustomError("bool_type", "Give true or false.")
    return value


class ImportOptions(RequestModel):
    """The options of an upload besides its file; in a form every value is text."""

    source: ImportSourceKind = ImportSourceKind.FILE
    """``openphone`` imports the provider's contacts instead of a file."""
    list_name: Annotated[str, Text(shortest=1, longest=200)] | None = None
    """Everyone in the file is put on the list with this name, which is created if needed."""
    list_id: UUID | None = None
    mapping: Annotated[dict[str, str | None] | None, BeforeValidator(_read_json)] = None
    """Column to field; null leaves the column out."""
    dry_run: Annotated[bool, BeforeValidator(_refuse_number)] = False
    """Count what would happen, and change nothing."""
    on_duplicate: OnDuplicate = OnDuplicate.FILL


class ImportCorrection(RequestModel):
    """Other options for a dry run; what is left out stays.

    Attributes:
        mapping: The field of each column; null leaves the column out.
        list_name: The name of the list that gets the contacts. It is created if it does not exist.
    """

    model_config = example(mapping={"Mobile": "phone", "Remarks": None})

    mapping: dict[str, str | None] | None = None
    on_duplicate: OnDuplicate | None = None
    list_name: Annotated[str, Text(shortest=1, longest=200)] | None = None
    list_id: UUID | None = None


class ImportColumnRead(ReadModel):
    """The meaning found for one column; check it if the confidence is low.

    Attributes:
        column: The name of the column in the file.
        field: The field that the column is imported as; null if the column is left out.
        confidence: How sure the detection is.
        fits: The percentage of the first values that look like this field.
        examples: Some values of the column.
    """

    model_config = example(
        column="Mobile",
        field="phone",
        confidence="certain",
        told_by="name",
        fits=239,
        examples=["(617) 555-0123"],
    )

    column: str
    field: str | None
    confidence: str
    told_by: Annotated[str, Vocabulary(ColumnBasis, "ImportToldBy")]
    fits: int | None
    """Percentage of the first values that look like the field."""
    examples: list[str]


class ImportChangeRead(ReadModel):
    """How often a field was set that was empty, and how often one that had another value.

    Attributes:
        filled: How often the field was empty before.
        overwritten: How often the field had another value before.
    """

    filled: int
    overwritten: int


class ImportValueRead(ReadModel):
    """A field of one person, before and after the import.

    Attributes:
        before: The value before the change.
        after: The value after the change.
    """

    before: Any
    after: Any


class ImportExampleRead(ReadModel):
    """One person of the file who is new or changes.

    Attributes:
        line: The line number in the file.
        outcome: What the import does with the contact.
        changes: The fields that change, each with its value before and after.
    """

    model_config = example(
        line=17,
        outcome="updated",
        changes={"email": {"before": None, "after": "ada.rossi@example.com"}},
    )

    line: int
    phone: str
    contact_id: Id | None
    outcome: str
    changes: dict[str, ImportValueRead]


class ImportUndoRead(ReadModel):
    """The progress of an undo: what was undone, and what stays.

    Attributes:
        removed: The number of contacts that were removed.
        restored: The number of contacts that were restored.
        memberships_removed: The number of list memberships that were removed.
        left_edited: The number of contacts that stay because they were changed since.
        left_in_use: The number of contacts that stay because they are in use.
    """

    status: Annotated[str, Vocabulary(UndoState, "ImportUndoStatus")]
    removed: int
    restored: int
    memberships_removed: int
    left_edited: int
    left_in_use: int


class ImportRead(ReadModel):
    """One import; ``rows_total`` is null until the file is counted.

    Attributes:
        file_name: The name of the uploaded file.
        rows_sha256: The SHA-256 of the rows, in hexadecimal.
        detected_format: The format of the file.
        mapping: The field of each column; null leaves the column out.
        rows_total: The number of rows in the file; null until they are counted.
        rows_processed: The number of rows that were read so far.
        created: The number of items that were created.
        updated: The number of items that were changed.
        unchanged: The number of contacts that stay as they are.
        duplicates_in_file: The number of rows whose phone number is in an earlier row.
        invalid: The number of rows that could not be imported.
        dry_run_id: The id of the dry run that this import commits; null without one.
        changed_since_dry_run: The number of contacts that were imported differently from the dry
            run, because they changed before its commit.
        changes: How often each field is filled or overwritten.
        undo: The progress of the undo; null without one.
        undone_at: When it was undone; null otherwise.
        list_name: The name of the list that gets the contacts. It is created if it does not exist.
        error: What went wrong, as a sentence; null without a failure.
    """

    model_config = example(
        status="completed",
        file_name="quincy-owners.csv",
        rows_sha256="4be81d7a2f0c95637fa0d5b64c1e2938d7f6a5b49c8031e2f7a6d5c4b3a29180",
        detected_format="csv",
        mapping={"Mobile": "phone", "Owner": "first_name", "Remarks": None},
        on_duplicate="fill",
        rows_total=240,
        rows_processed=240,
        created=180,
        updated=31,
        unchanged=27,
        duplicates_in_file=1,
        invalid=1,
        changes={"email": {"filled": 31, "overwritten": 0}},
        list_name="Owners in Quincy",
        started_at="2026-11-24T16:20:01.000Z",
        finished_at="2026-11-24T16:20:03.000Z",
    )

    id: Id
    status: Annotated[str, Vocabulary(ImportStatus)]
    source: Annotated[str, Vocabulary(ImportSourceKind)]
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
    changes: dict[str, ImportChangeRead]
    undo: ImportUndoRead | None
    undone_at: Instant | None
    list_id: Id | None
    list_name: str | None
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    error: str | None


class UndoRequest(DryRunRequest):
    """An undo, or a count of what it would do."""

    model_config = example(dry_run=True)


class UndoneImportRead(ImportRead, DryRunRead):
    """The import that is being undone.

    ``counts`` are those of a dry run, or of the call with its token: what the undo reverts
    (``removed``, ``restored``, ``memberships_removed``) and what stays (``left_edited``,
    ``left_in_use``). ``undo`` is updated during the undo.
    """

    model_config = example(ImportRead, token=None)

    dry_run: bool


class ImportDetail(ImportRead):
    """One import with its columns, and examples of its changes.

    To correct the meaning of a column, use ``PATCH`` on the dry run, or a new upload with
    ``mapping``.

    Attributes:
        columns: The field that each column of the file is imported as.
        notes: Remarks about the file, as sentences.
        sample: Some of the contacts, as examples.
    """

    model_config = example(ImportRead, notes=[])

    columns: list[ImportColumnRead]
    notes: list[str]
    sample: list[ImportExampleRead]


def read_options(fields: Mapping[str, Any]) -> ImportOptions:
    """Validate the form's fields, or those of a JSON object; a blank one counts as left out.

    Raises:
        ImportOptionError: There are faults; ``errors`` has one problem for each field.
    """
    options = read_form(ImportOptions, fields, error=ImportOptionError)
    check_list(options.list_name, options.list_id)
    return options


def check_list(list_name: str | None, list_id: UUID | None) -> None:
    """Refuse a list by name together with a list by id.

    Raises:
        ImportOptionError: Both are given.
    """
    if list_name and list_id:
        raise _wrong("/list_id", "Give list_name or list_id, not both.")


def unknown_list() -> ImportOptionError:
    """Return the error for a ``list_id`` that does not exist."""
    return _wrong("/list_id", "There is no list with this id.", code="unknown_list")


def _wrong(pointer: str, detail: str, *, code: str = "conflicting_fields") -> ImportOptionError:
    return ImportOptionError(
        detail, errors=[FieldProblem(pointer=pointer, code=code, detail=detail)]
    )
