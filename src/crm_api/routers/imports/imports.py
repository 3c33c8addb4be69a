"""Routes to import contacts and outcomes: upload, progress, errors, cancel, commit, undo."""

import asyncio
import contextlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import StreamingResponse

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.imports.contacts import commit, undo_request
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    ImportContent,
    ImportSourceKind,
)
from crm_api.domain.imports.contacts.schemas import (
    ImportCorrection,
    ImportDetail,
    ImportOptions,
    ImportRead,
    UndoneImportRead,
    UndoRequest,
    read_options,
)
from crm_api.domain.imports.contacts.source import examine_file, examine_stored_file, sha256_of
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.errors import FileTooLargeError
from crm_api.domain.imports.files.workbook import convert, is_workbook
from crm_api.domain.kit.dry_runs import make_call
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.outcome_imports import write as outcome_undo
from crm_api.domain.sales.outcome_imports.source import MAX_FILE_BYTES as MAX_OUTCOME_BYTES
from crm_api.domain.sales.outcome_imports.source import examine_outcomes
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.routers.http.csv_responses import CSV_OF_ERRORS
from crm_api.routers.http.deps import Caller, Needs, Paging, State, Uow, require
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows
from crm_api.routers.http.uploads import check_file, read_json_object, receive
from crm_api.routers.imports.error_files import respond_with_errors

router = ResourceRouter(prefix="/v1/imports", tags=["imports"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]

MAX_FILE_BYTES = 512 * 2**20

RECORDS_OUTCOMES = Needs(Scope.INSIGHT_WRITE)

_OPTIONS: dict[str, Any] = {
    "list_name": {
        "type": "string",
        "maxLength": 200,
        "description": "The name of a list to which every imported contact is added. The list is "
        "created if it does not exist.",
    },
    "list_id": {
        "type": "string",
        "format": "uuid",
        "description": "The id of a list to which every imported contact is added. Do not send "
        "`list_name` too.",
    },
    "on_duplicate": {
        "type": "string",
        "enum": ["fill", "overwrite", "skip"],
        "default": "fill",
    },
    "dry_run": {"type": "boolean", "default": False},
}
_MAPPING = (
    'The field to which each column is imported, for example {"Contact": "phone"}. Null leaves a '
    "column out. If a column is missing here, the service chooses its field by the name or the "
    "values of the column."
)
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "title": "ImportOfFile",
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A CSV file with phone numbers (UTF-8, UTF-16 or "
                            "Windows-1252), or a workbook (XLSX). Of a workbook, only the first "
                            "sheet that has rows is imported.",
                        },
                        "kind": {
                            "type": "string",
                            "enum": ["contacts", "outcomes"],
                            "default": "contacts",
                            "description": "What the rows describe: `contacts`, or `outcomes` "
                            "(with quotes and invoices). `outcomes` also needs the scope "
                            "`insight:write`, and does not accept a list or `on_duplicate`. The "
                            "fields of its rows are `phone`, `kind`, `status`, `amount`, "
                            "`amount_cents`, `currency`, `date`, `external_id` and `name`.",
                        },
                        "source": {
                            "type": "string",
                            "enum": ["file", "openphone"],
                            "default": "file",
                            "description": "What is imported: the uploaded file, or the contacts "
                            "in OpenPhone.",
                        },
                        "mapping": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": _MAPPING,
                        },
                        **_OPTIONS,
                    },
                },
                "example": {
                    "file": "Mobile,Owner\r\n(617) 555-0123,Ada\r\n",
                    "list_name": "Owners in Quincy",
                    "mapping": '{"Mobile": "phone", "Owner": "first_name"}',
                    "on_duplicate": "fill",
                    "dry_run": True,
                },
            },
            "application/json": {
                "schema": {
                    "title": "ImportFromProvider",
                    "type": "object",
                    "required": ["source"],
                    "additionalProperties": False,
                    "properties": {
                        "source": {
                            "type": "string",
                            "const": "openphone",
                            "description": "What is imported: the contacts in OpenPhone.",
                        },
                        "mapping": {"type": "object", "description": _MAPPING},
                        **_OPTIONS,
                    },
                },
                "example": {"source": "openphone", "list_name": "From OpenPhone"},
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    openapi_extra=_FORM
    | fails_with(
        "empty_file",
        "file_too_large",
        "invalid_file",
        "invalid_import_option",
        "invalid_mapping",
        "malformed_upload",
        "no_phone_column",
        "not_csv",
        "workbook_too_large",
    )
    | shows(
        status="pending",
        rows_total=None,
        rows_processed=0,
        created=0,
        updated=0,
        unchanged=0,
        invalid=0,
        duplicates_in_file=0,
        started_at=None,
        finished_at=None,
        dry_run=True,
        changes={},
        sample=[],
        repeated_lines=[],
    ),
)
async def create_import(request: Request, state: State, uow: Uow, caller: Writer) -> ImportDetail:
    """Upload a CSV file or a workbook. A background job imports its contacts or outcomes.

    A JSON body ``{"source": "openphone"}`` imports the contacts from OpenPhone instead. The JSON
    body can have the same options as an upload of contacts.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        options = read_options(await read_json_object(request))
        return await _from_provider(uow, options)
    import_id = new_id()
    path = contact_imports.upload_path(state.settings.data_dir, import_id)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(path.unlink, missing_ok=True)
        upload = await receive(request, path, max_bytes=MAX_FILE_BYTES)
        check_file(upload)
        options = read_options(upload.fields)
        if options.source != ImportSourceKind.FILE:
            return await _from_provider(uow, options)
        is_outcomes = options.kind is ImportContent.OUTCOMES
        if is_outcomes:
            await _check_outcomes(caller, upload.byte_size)
            uploaded = path
            path = contact_imports.upload_path(state.settings.data_dir, import_id, options.kind)
            await asyncio.to_thread(uploaded.rename, path)
            cleanup.callback(path.unlink, missing_ok=True)
        notes = await convert(path) if await asyncio.to_thread(is_workbook, path) else []
        examine = examine_outcomes if is_outcomes else examine_file
        detected = await asyncio.to_thread(examine, path, options.mapping)
        detected.notes[:0] = notes
        rows_sha256 = await asyncio.to_thread(sha256_of, path)
        async with uow:
            row = await contact_imports.create_import(
                uow,
                import_id=import_id,
                file_name=upload.file_name,
                byte_size=upload.byte_size,
                rows_sha256=rows_sha256,
                detected=detected,
                options=options,
                now=await uow.database_now(),
                actor=caller.name if is_outcomes else None,
            )
        cleanup.pop_all()
    return ImportDetail.model_validate(row)


async def _check_outcomes(caller: Caller, byte_size: int) -> None:
    """Check that the caller may import outcomes, and that the file is not too large."""
    RECORDS_OUTCOMES.check(caller)
    if byte_size > MAX_OUTCOME_BYTES:
        raise FileTooLargeError(
            f"A file of outcomes must not be larger than {MAX_OUTCOME_BYTES >> 20} MiB. Split the "
            "file and upload the parts."
        )


async def _check_scope(caller: Caller, row: ContactImport) -> None:
    if row.kind == ImportContent.OUTCOMES:
        RECORDS_OUTCOMES.check(caller)


async def _from_provider(uow: UnitOfWork, options: ImportOptions) -> ImportDetail:
    async with uow:
        row = await contact_imports.create_provider_import(
            uow, options, now=await uow.database_now()
        )
    return ImportDetail.model_validate(row)


@router.get("")
async def list_imports(uow: Uow, page: Paging, _caller: Reader) -> PageRead[ImportRead]:
    """List imports, newest first."""
    async with uow:
        found = await runs.list_imports(uow, CONTACT_IMPORTS, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, ImportRead.model_validate)


@router.get("/{import_id}")
async def get_import(import_id: UUID, uow: Uow, _caller: Reader) -> ImportDetail:
    """Return an import: its progress, and the field to which each column of the file is imported.

    The response also has examples of contacts that the import creates or changes.
    """
    async with uow:
        row = await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)
    return ImportDetail.model_validate(row)


@router.get(
    "/{import_id}/errors",
    response_class=StreamingResponse,
    responses=CSV_OF_ERRORS,
)
async def get_import_errors(
    import_id: UUID, state: State, uow: Uow, _caller: Reader
) -> StreamingResponse:
    """Download a CSV file of the values that could not be imported.

    The values have the same order as in the imported data.
    """
    async with uow:
        await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)
    name = f"import-{import_id}-errors.csv"
    return respond_with_errors(state.new_uow, CONTACT_IMPORTS, import_id, name=name)


@router.post(
    "/{import_id}/cancel", openapi_extra=fails_with("import_finished") | shows(status="cancelled")
)
async def cancel_import(import_id: UUID, state: State, uow: Uow, _caller: Writer) -> ImportRead:
    """Cancel an import. The changes that it has made stay until you undo the import."""
    async with uow:
        now = await uow.database_now()
        row = await runs.cancel(uow, CONTACT_IMPORTS, import_id=import_id, now=now)
    if row.dry_run_id is None:
        path = contact_imports.rows_path(state.settings.data_dir, row)
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return ImportRead.model_validate(row)


@router.patch(
    "/{import_id}",
    status_code=202,
    openapi_extra=fails_with(
        "dry_run_committed",
        "dry_run_not_ready",
        "invalid_file",
        "invalid_import_option",
        "invalid_mapping",
        "no_phone_column",
        "not_a_dry_run",
        "upload_gone",
    ),
)
async def correct_import(
    import_id: UUID, body: ImportCorrection, state: State, uow: Uow, caller: Writer
) -> ImportDetail:
    """Repeat the dry run of an import with other options, without a new upload.

    Options that you leave out do not change. The option ``mapping`` gives the field to which each
    column of the file is imported. If you send ``mapping`` without a column, the service chooses
    the field of this column.
    """
    async with uow:
        row = await commit.get_correctable_dry_run(uow, import_id=import_id)
    await _check_scope(caller, row)
    path = contact_imports.rows_path(state.settings.data_dir, row)
    is_outcomes = row.kind == ImportContent.OUTCOMES
    examine = examine_outcomes if is_outcomes else examine_stored_file
    mapping = row.mapping if body.mapping is None else body.mapping
    detected = await asyncio.to_thread(examine, path, mapping)
    async with uow:
        row = await commit.correct_dry_run(
            uow, import_id=import_id, body=body, detected=detected, now=await uow.database_now()
        )
    return ImportDetail.model_validate(row)


@router.post(
    "/{import_id}/commit",
    status_code=202,
    openapi_extra=fails_with("dry_run_not_ready", "invalid_import_option", "not_a_dry_run"),
)
async def commit_import(import_id: UUID, uow: Uow, caller: Writer) -> ImportRead:
    """Import exactly the rows that a dry run has read. The response is the new import.

    If the rows of the dry run were already imported, the response is the earlier import. But if
    that import failed, was cancelled or was undone, a new import is created.
    """
    async with uow:
        await _check_scope(caller, await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id))
        row = await commit.commit_dry_run(
            uow, import_id=import_id, now=await uow.database_now(), actor=caller.name
        )
    return ImportRead.model_validate(row)


@router.post(
    "/{import_id}/undo",
    status_code=202,
    response_model_exclude_unset=True,
    openapi_extra=fails_with("import_not_undoable"),
)
async def undo_import(
    import_id: UUID,
    uow: Uow,
    call: ThisCall,
    caller: Writer,
    body: UndoRequest | None = None,
) -> UndoneImportRead:
    """Undo an import. Contacts that were edited after the import do not change.

    Contacts that the import created are removed, unless they got a message, a phone call, a flag, a
    note, a task or a sales record (appointment, quote, invoice, outcome) after the import. An
    outcome that the import recorded is reversed, not removed.
    """
    wanted = body or UndoRequest()

    async def act() -> UndoneImportRead:
        row = await undo_request.request_undo(
            uow, import_id=import_id, now=await uow.database_now()
        )
        await _check_scope(caller, row)
        is_counted = wanted.dry_run or wanted.token is not None
        is_outcomes = row.kind == ImportContent.OUTCOMES
        count = outcome_undo.count_undo if is_outcomes else undo_request.count_undo
        counts = await count(uow, row) if is_counted else {}
        return UndoneImportRead.model_validate(row).model_copy(update={"counts": counts})

    async with uow:
        return await make_call(uow, call.by(caller), wanted, act)
