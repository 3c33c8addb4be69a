"""Imports of contacts: upload, progress, errors, cancel."""

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from crm_api import clock
from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.access.models import Scope
from crm_api.domain.schemas import PageRead
from crm_api.domain.transfer import committing, undoing
from crm_api.domain.transfer import service as transfer
from crm_api.domain.transfer.models import ImportSourceKind
from crm_api.domain.transfer.schemas import (
    ImportCorrection,
    ImportDetail,
    ImportOptions,
    ImportRead,
    read_options,
)
from crm_api.domain.transfer.source import examine, examine_kept, sha256_of
from crm_api.domain.transfer.workbook import convert, is_workbook
from crm_api.ids import new_id
from crm_api.routers.csv_answers import CSV_OF_ERRORS
from crm_api.routers.deps import Caller, Paging, State, Uow, require
from crm_api.routers.uploads import check_file, read_json_object, receive

router = APIRouter(prefix="/v1/imports", tags=["imports"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]

MAX_FILE_BYTES = 512 * 2**20

_OPTIONS: dict[str, Any] = {
    "list_name": {
        "type": "string",
        "maxLength": 200,
        "description": "Put everyone on this list; it is made when new.",
    },
    "list_id": {"type": "string", "format": "uuid"},
    "on_duplicate": {
        "type": "string",
        "enum": ["fill", "overwrite", "skip"],
        "default": "fill",
    },
    "dry_run": {"type": "boolean", "default": False},
}
_MAPPING = (
    'Column to field (null: leave out), for example {"Contact": "phone"}; other columns are told '
    "by name or values."
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
                            "description": "CSV with phone numbers (UTF-8, UTF-16 or Windows-1252) "
                            "or a workbook (XLSX), of which the first sheet with rows is read.",
                        },
                        "source": {
                            "type": "string",
                            "enum": ["file", "openphone"],
                            "default": "file",
                        },
                        "mapping": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": _MAPPING,
                        },
                        **_OPTIONS,
                    },
                }
            },
            "application/json": {
                "schema": {
                    "title": "ImportFromProvider",
                    "type": "object",
                    "required": ["source"],
                    "additionalProperties": False,
                    "properties": {
                        "source": {"type": "string", "const": "openphone"},
                        "mapping": {"type": "object", "description": _MAPPING},
                        **_OPTIONS,
                    },
                }
            },
        },
    }
}


@router.post("", status_code=202, openapi_extra=_FORM)
async def create_import(request: Request, state: State, uow: Uow, _caller: Writer) -> ImportDetail:
    """Upload a CSV or a workbook; its people are taken over in the background.

    A JSON body ``{"source": "openphone"}`` takes the provider's contacts instead, with the same
    options.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        options = read_options(await read_json_object(request))
        return await _from_provider(uow, options)
    import_id = new_id()
    path = transfer.upload_path(state.settings.data_dir, import_id)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(path.unlink, missing_ok=True)
        upload = await receive(request, path, max_bytes=MAX_FILE_BYTES)
        check_file(upload)
        options = read_options(upload.fields)
        if options.source != ImportSourceKind.FILE:
            return await _from_provider(uow, options)
        notes = await convert(path) if await asyncio.to_thread(is_workbook, path) else []
        detected = await asyncio.to_thread(examine, path, options.mapping)
        detected.notes[:0] = notes
        rows_sha256 = await asyncio.to_thread(sha256_of, path)
        async with uow:
            row = await transfer.create(
                uow,
                import_id=import_id,
                file_name=upload.file_name,
                byte_size=upload.byte_size,
                rows_sha256=rows_sha256,
                detected=detected,
                options=options,
                now=clock.now(),
            )
        cleanup.pop_all()
    return ImportDetail.model_validate(row)


async def _from_provider(uow: UnitOfWork, options: ImportOptions) -> ImportDetail:
    async with uow:
        row = await transfer.create_from_provider(uow, options, now=clock.now())
    return ImportDetail.model_validate(row)


@router.get("")
async def list_imports(uow: Uow, page: Paging, _caller: Reader) -> PageRead[ImportRead]:
    """List imports, newest first."""
    async with uow:
        found = await transfer.list_imports(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[ImportRead.model_validate(row) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/{import_id}")
async def get_import(import_id: UUID, uow: Uow, _caller: Reader) -> ImportDetail:
    """Tell how far an import is, how its columns were read, and examples of what it does."""
    async with uow:
        row = await transfer.get(uow, import_id=import_id)
    return ImportDetail.model_validate(row)


@router.get(
    "/{import_id}/errors",
    response_class=StreamingResponse,
    responses=CSV_OF_ERRORS,
)
async def get_import_errors(
    import_id: UUID, state: State, uow: Uow, _caller: Reader
) -> StreamingResponse:
    """Download what could not be taken, in the order of the file."""
    async with uow:
        await transfer.get(uow, import_id=import_id)
    return StreamingResponse(
        _error_lines(state.new_uow, import_id),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="import-{import_id}-errors.csv"'},
    )


@router.post("/{import_id}/cancel")
async def cancel_import(import_id: UUID, state: State, uow: Uow, _caller: Writer) -> ImportRead:
    """Stop an import; what is written stays."""
    async with uow:
        row = await transfer.cancel(uow, import_id=import_id, now=clock.now())
    if row.dry_run_id is None:
        path = transfer.rows_path(state.settings.data_dir, row)
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return ImportRead.model_validate(row)


@router.patch("/{import_id}", status_code=202)
async def correct_import(
    import_id: UUID, body: ImportCorrection, state: State, uow: Uow, _caller: Writer
) -> ImportDetail:
    """Run a dry run again with another mapping or other options; the file need not be sent again.

    What is left out stays as it was; ``mapping`` names columns that mean something else than was
    told.
    """
    path = transfer.upload_path(state.settings.data_dir, import_id)
    async with uow:
        row = await committing.get_correctable(uow, import_id=import_id)
    detected = await asyncio.to_thread(examine_kept, path, body.mapping or row.mapping)
    async with uow:
        row = await committing.correct(
            uow, import_id=import_id, body=body, detected=detected, now=clock.now()
        )
    return ImportDetail.model_validate(row)


@router.post("/{import_id}/commit", status_code=202)
async def commit_import(import_id: UUID, uow: Uow, _caller: Writer) -> ImportRead:
    """Import exactly what this dry run has read; the answer is the import that does it."""
    async with uow:
        row = await committing.commit(uow, import_id=import_id, now=clock.now())
    return ImportRead.model_validate(row)


@router.post("/{import_id}/undo", status_code=202)
async def undo_import(import_id: UUID, uow: Uow, _caller: Writer) -> ImportRead:
    """Take back what an import did to contacts that nobody has touched since."""
    async with uow:
        row = await undoing.ask(uow, import_id=import_id, now=clock.now())
    return ImportRead.model_validate(row)


async def _error_lines(new_uow: UnitOfWorkFactory, import_id: UUID) -> AsyncIterator[str]:
    header = io.StringIO()
    csv.writer(header).writerow(transfer.ERROR_COLUMNS)
    yield header.getvalue()
    after: int | None = 0
    while after is not None:
        async with new_uow() as uow:
            lines, after = await transfer.errors_as_csv(uow, import_id=import_id, after=after)
        yield lines
