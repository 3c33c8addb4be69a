"""Request and response models of contact imports."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from crm_api.domain.imports.contacts.columns import ColumnBasis
from crm_api.domain.imports.contacts.errors import ImportOptionError
from crm_api.domain.imports.contacts.models import (
    ImportContent,
    ImportSourceKind,
    OnDuplicate,
    UndoState,
)
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.validation_errors import read_form
from crm_api.domain.kit.vocabulary import Vocabulary


def _read_json(value: object) -> object:
    """Parse the JSON text of a form field; return any other value unchanged.

    A value from a JSON body is parsed already.
    """
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise PydanticCustomError("json_invalid", "The value is not valid JSON.") from error


def _refuse_number(value: Any) -> Any:  # noqa: ANN401 - a form's text, or any JSON value
    """Raise an error for a number, because 0 and 1 are not booleans in JSON."""
    if type(value) in (int, float):
        raise PydanticCustomError("bool_type", "Give true or false.")
    return value


class ImportOptions(RequestModel):
    """The options of an import, read from form fields or from a JSON body."""

    kind: ImportContent = ImportContent.CONTACTS
    """What the rows are: contacts, or outcomes, quotes and invoices."""
    source: ImportSourceKind = ImportSourceKind.FILE
    """``file`` imports the uploaded file, ``openphone`` imports the contacts in OpenPhone."""
    list_name: Annotated[str, Text(shortest=1, longest=200)] | None = None
    """All contacts of the import join the list with this name, which is created if needed."""
    list_id: UUID | None = None
    mapping: Annotated[dict[str, str | None] | None, BeforeValidator(_read_json)] = None
    """The field of each column, by the name of the column; null leaves the column out."""
    dry_run: Annotated[bool, BeforeValidator(_refuse_number)] = False
    """True to count what the import would do, without changing contacts."""
    on_duplicate: OnDuplicate = OnDuplicate.FILL


class ImportCorrection(RequestModel):
    """New options for a dry run. Options that are left out do not change.

    Attributes:
        mapping: The field of each column; null leaves the column out. Columns not in ``mapping``
            are recognised automatically.
        list_name: The list that the contacts join, by name. It is created if it does not exist.
        list_id: The list that the contacts join, by id.
    """

    model_config = example(mapping={"Mobile": "phone", "Remarks": None})

    mapping: dict[str, str | None] | None = None
    on_duplicate: OnDuplicate | None = None
    list_name: Annotated[str, Text(shortest=1, longest=200)] | None = None
    list_id: UUID | None = None


class ImportColumnRead(ReadModel):
    """The contact field for one column of the file. Check the field if ``confidence`` is ``low``.

    Attributes:
        column: The name of the column in the file.
        field: The field to which the column is imported; null if the column is left out.
        confidence: How surely the column has this field: ``high``, ``medium`` or ``low``.
        fits: The percentage of values in the first rows that look like the field. Null if this
            cannot be checked.
        examples: Up to two values of the column.
    """

    model_config = example(
        column="Mobile",
        field="phone",
        confidence="high",
        told_by="name",
        fits=100,
        examples=["(617) 555-0123"],
    )

    column: str
    field: str | None
    confidence: str
    told_by: Annotated[str, Vocabulary(ColumnBasis, "ImportToldBy")]
    fits: int | None
    examples: list[str]


class ImportChangeRead(ReadModel):
    """How often an import sets one field of existing contacts.

    Attributes:
        filled: The number of existing contacts whose field was empty before the import.
        overwritten: The number of existing contacts whose field had another value before the
            import.
    """

    filled: int
    overwritten: int


class ImportValueRead(ReadModel):
    """The value of one field of a contact before and after the import.

    Attributes:
        before: The value before the import; null if the field was empty.
        after: The value after the import.
    """

    before: Any
    after: Any


class RepeatedLineRead(ReadModel):
    """A line of the file that was left out, because an earlier line has the same phone number.

    Attributes:
        line: The number of the line that was left out.
        first_line: The number of the earlier line with the same phone number. The person in that
            line is imported.
    """

    model_config = example(line=31, first_line=17)

    line: int
    first_line: int


class ImportExampleRead(ReadModel):
    """An example of a contact that the import creates or changes.

    Attributes:
        line: The number of the line in the file.
        contact_id: The id of the changed contact; null if the import creates the contact.
        outcome: ``created`` or ``updated``.
        changes: The fields that change, by name, each with its value before and after.
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
    """The progress of the undo of an import.

    Attributes:
        removed: How many created contacts were removed; for outcomes: how many were reversed.
        restored: The number of contacts that got back their values from before the import.
        memberships_removed: The number of contacts removed from the import's list.
        left_edited: How many contacts were kept because they were edited after the import; for
            outcomes: how many were already reversed.
        left_in_use: The number of created contacts left because they later got a message, a call, a
            flag, a note, a task or a sales record (appointment, quote, invoice, outcome).
    """

    status: Annotated[str, Vocabulary(UndoState, "ImportUndoStatus")]
    removed: int
    restored: int
    memberships_removed: int
    left_edited: int
    left_in_use: int


class ImportRead(ReadModel):
    """An import of contacts or outcomes, and its progress.

    The counts are described for contacts. For outcomes, `created` counts the outcomes recorded now,
    `unchanged` counts those recorded before, and `updated` is 0.

    Attributes:
        kind: What the rows are: `contacts` or `outcomes`.
        file_name: The name of the uploaded file; null for an import from the provider.
        rows_sha256: The SHA-256 digest of the rows as CSV, in hexadecimal; null during a fetch from
            the provider.
        detected_format: The kind of file, such as ``propertyradar`` or ``generic``; null during a
            fetch from the provider.
        mapping: The field of each column, by the name of the column; null leaves the column out.
        dry_run: True if the import only counts what would happen, and changes nothing.
        rows_total: The number of rows in the file; null until they are counted.
        rows_processed: The number of rows that were read so far.
        created: The number of contacts that were created, or would be in a dry run.
        updated: The number of contacts that were changed, or would be in a dry run.
        unchanged: The number of contacts that existed and did not change.
        duplicates_in_file: The number of people whose phone number is in an earlier row.
        invalid: The number of rows from which no contact could be imported.
        dry_run_id: The dry run that this import commits; null if there is none.
        changed_since_dry_run: The number of contacts whose result differs from the dry run, because
            they have changed since.
        changes: By field name, how often the import fills or overwrites the field.
        undo: The progress of the undo of this import; null if no undo was requested.
        undone_at: When the undo was completed; null until then.
        list_id: The list that the contacts join; null if none. In a dry run, it is also null for a
            list given by name.
        list_name: The name of the list, if the request gave it; otherwise null.
        error: Why the import failed, or why it waits, as a sentence; otherwise null.
    """

    model_config = example(
        kind="contacts",
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
    kind: Annotated[str, Vocabulary(ImportContent)]
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
    """A request to undo an import.

    If ``dry_run`` is true, the request changes nothing: it only counts what the undo would do.
    """

    model_config = example(dry_run=True)


class UndoneImportRead(ImportRead, DryRunRead):
    """The import that is being undone. ``undo`` is the progress of the undo.

    Only the response to a dry run has ``counts``, with these fields of ``undo``: ``removed``,
    ``restored``, ``memberships_removed``, ``left_edited`` and ``left_in_use``.

    Attributes:
        dry_run: True if the request only counted what the undo would do, and changed nothing.
    """

    model_config = example(ImportRead, token=None)

    dry_run: bool


class ImportDetail(ImportRead):
    """An import of contacts or outcomes, with the columns of its file and examples of its changes.

    Correct a wrong field with ``PATCH`` on a dry run, or upload the file again with ``mapping``.

    Attributes:
        columns: The field to which each column of the file is imported.
        notes: Sentences about the file, such as how a column was recognised.
        sample: Examples of contacts that the import creates or changes.
        repeated_lines: The lines of the first 100 people whose phone number occurs earlier in the
            file. Empty for outcomes.
    """

    model_config = example(ImportRead, notes=[])

    columns: list[ImportColumnRead]
    notes: list[str]
    sample: list[ImportExampleRead]
    repeated_lines: list[RepeatedLineRead]


def read_options(fields: Mapping[str, Any]) -> ImportOptions:
    """Read the options from the form fields or the JSON body. A blank field is ignored.

    Raises:
        ImportOptionError: An option is unknown, invalid or not allowed with another option;
            ``errors`` names the wrong options.
    """
    options = read_form(ImportOptions, fields, error=ImportOptionError)
    check_list(options.list_name, options.list_id)
    if options.kind is ImportContent.OUTCOMES:
        check_outcome_options(options)
        if options.source is not ImportSourceKind.FILE:
            raise _wrong(
                "/source", "Outcomes can be imported only from a file. Leave out `source`."
            )
    return options


def check_outcome_options(options: ImportOptions | ImportCorrection) -> None:
    """Check that an import of outcomes has only options that are allowed for outcomes.

    Raises:
        ImportOptionError: A list is given, or ``on_duplicate`` has another value than ``fill``.
    """
    if options.list_name is not None or options.list_id is not None:
        pointer = "/list_name" if options.list_name is not None else "/list_id"
        raise _wrong(pointer, "An import of outcomes has no list. Leave out this option.")
    if options.on_duplicate not in {None, OnDuplicate.FILL}:
        raise _wrong("/on_duplicate", "An outcome never changes. Leave out this option.")


def check_list(list_name: str | None, list_id: UUID | None) -> None:
    """Check that a list is not given both by name and by id.

    Raises:
        ImportOptionError: Both the name and the id are given.
    """
    if list_name and list_id:
        raise _wrong("/list_id", "Both list_name and list_id are given. Give only one of them.")


def unknown_list() -> ImportOptionError:
    """Return the error for a ``list_id`` that does not exist."""
    detail = "No list has this id. Give the id of an existing list, or a `list_name`."
    return _wrong("/list_id", detail, code="unknown_list")


def _wrong(pointer: str, detail: str, *, code: str = "conflicting_fields") -> ImportOptionError:
    return ImportOptionError(
        detail, errors=[FieldProblem(pointer=pointer, code=code, detail=detail)]
    )
