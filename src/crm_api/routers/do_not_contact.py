"""Do-not-contact lists: upload, scrub report, errors, cancel."""

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
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.access.models import Scope
from crm_api.domain.do_not_contact import service as do_not_contact
from crm_api.domain.do_not_contact.schemas import UploadRead, read_options
from crm_api.domain.do_not_contact.source import phone_columns
from crm_api.domain.schemas import PageRead
from crm_api.ids import new_id
from crm_api.routers.csv_answers import CSV_OF_ERRORS
from crm_api.routers.deps import Caller, Paging, State, Uow, require
from crm_api.routers.uploads import receive

router = APIRouter(prefix="/v1/do-not-contact-uploads", tags=["consent"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]

MAX_FILE_BYTES = 256 * 2**20

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "title": "DoNotContactFile",
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "CSV with numbers in any usual writing, with or "
                            "without a header.",
                        },
                        "reason": {
                            "type": "string",
                            "maxLength": 200,
                            "default": "do-not-contact list",
                            "description": "Stands on each number's flag.",
                        },
                        "column": {
                            "type": "string",
                            "description": "The one that holds the numbers, when it is not found.",
                        },
                        "dry_run": {"type": "boolean", "default": False},
                    },
                }
            }
        },
    }
}


@router.post("", status_code=202, openapi_extra=_FORM)
async def create_upload(request: Request, state: State, uow: Uow, caller: Writer) -> UploadRead:
    """Upload numbers that must not be texted; they are flagged in the background."""
    upload_id = new_id()
    path = do_not_contact.upload_path(state.settings.data_dir, upload_id)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(path.unlink, missing_ok=True)
        upload = await receive(request, path, max_bytes=MAX_FILE_BYTES)
        options = read_options(upload.fields)
        columns = await asyncio.to_thread(phone_columns, path, options.column)
        async with uow:
            row = await do_not_contact.create(
                uow,
                upload_id=upload_id,
                file_name=upload.file_name,
                byte_size=upload.byte_size,
                columns=columns,
                options=options,
                actor=caller.name,
                now=clock.now(),
            )
        cleanup.pop_all()
    return UploadRead.model_validate(row)


@router.get("")
async def list_uploads(uow: Uow, page: Paging, _caller: Reader) -> PageRead[UploadRead]:
    """List uploads, newest first."""
    async with uow:
        found = await do_not_contact.list_uploads(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[UploadRead.model_validate(row) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/{upload_id}")
async def get_upload(upload_id: UUID, uow: Uow, _caller: Reader) -> UploadRead:
    """Show an upload's scrub report, so far or in full."""
    async with uow:
        row = await do_not_contact.get(uow, upload_id=upload_id)
    return UploadRead.model_validate(row)


@router.get(
    "/{upload_id}/errors",
    response_class=StreamingResponse,
    responses=CSV_OF_ERRORS,
)
async def get_upload_errors(
    upload_id: UUID, state: State, uow: Uow, _caller: Reader
) -> StreamingResponse:
    """Download what was no number, in the order of the file."""
    async with uow:
        await do_not_contact.get(uow, upload_id=upload_id)
    name = f"do-not-contact-{upload_id}-errors.csv"
    return StreamingResponse(
        _error_lines(state.new_uow, upload_id),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/{upload_id}/cancel")
async def cancel_upload(upload_id: UUID, state: State, uow: Uow, _caller: Writer) -> UploadRead:
    """Stop an upload; flags that were put stay."""
    async with uow:
        row = await do_not_contact.cancel(uow, upload_id=upload_id, now=clock.now())
    path = do_not_contact.upload_path(state.settings.data_dir, upload_id)
    await asyncio.to_thread(path.unlink, missing_ok=True)
    return UploadRead.model_validate(row)


async def _error_lines(new_uow: UnitOfWorkFactory, upload_id: UUID) -> AsyncIterator[str]:
    header = io.StringIO()
    csv.writer(header).writerow(do_not_contact.ERROR_COLUMNS)
    yield header.getvalue()
    after: int | None = 0
    while after is not None:
        async with new_uow() as uow:
            lines, after = await do_not_contact.errors_as_csv(uow, upload_id=upload_id, after=after)
        yield lines
