"""Routes to upload do-not-contact files, read their reports and errors, and cancel uploads."""

import asyncio
import contextlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import StreamingResponse

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.imports.do_not_contact import service as do_not_contact
from crm_api.domain.imports.do_not_contact.schemas import UploadRead, read_options
from crm_api.domain.imports.do_not_contact.service import DO_NOT_CONTACT_UPLOADS
from crm_api.domain.imports.do_not_contact.source import phone_columns
from crm_api.domain.imports.files import runs
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform.ids import new_id
from crm_api.routers.http.csv_responses import CSV_OF_ERRORS
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows
from crm_api.routers.http.uploads import receive
from crm_api.routers.imports.error_files import respond_with_errors

router = ResourceRouter(prefix="/v1/do-not-contact-uploads", tags=["consent"])
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
                            "description": "A CSV file with phone numbers in any usual format, "
                            "with or without a header.",
                        },
                        "reason": {
                            "type": "string",
                            "maxLength": 200,
                            "default": "do-not-contact list",
                            "description": "The reason to store with the flag of each number.",
                        },
                        "column": {
                            "type": "string",
                            "description": "The name of the column with the phone numbers. Needed "
                            "only if the service does not recognise the column.",
                        },
                        "dry_run": {"type": "boolean", "default": False},
                    },
                },
                "example": {
                    "file": "phone\r\n+16175550123\r\n",
                    "reason": "state list",
                    "dry_run": False,
                },
            }
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
        "invalid_mapping",
        "invalid_upload_option",
        "malformed_upload",
        "no_phone_column",
        "not_csv",
    )
    | shows(
        status="pending",
        rows_processed=0,
        invalid=0,
        duplicates_in_file=0,
        texts_withdrawn=0,
        started_at=None,
        finished_at=None,
        numbers_read=0,
        newly_suppressed=0,
        contacts_matched=0,
    ),
)
async def create_upload(request: Request, state: State, uow: Uow, caller: Writer) -> UploadRead:
    """Upload phone numbers that must not get messages.

    A background job sets the flag `do_not_contact` on these numbers.
    """
    upload_id = new_id()
    path = do_not_contact.upload_path(state.settings.data_dir, upload_id)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(path.unlink, missing_ok=True)
        upload = await receive(request, path, max_bytes=MAX_FILE_BYTES)
        options = read_options(upload.fields)
        columns = await asyncio.to_thread(phone_columns, path, options.column)
        async with uow:
            row = await do_not_contact.create_upload(
                uow,
                upload_id=upload_id,
                file_name=upload.file_name,
                byte_size=upload.byte_size,
                columns=columns,
                options=options,
                actor=caller.name,
                now=await uow.database_now(),
            )
        cleanup.pop_all()
    return UploadRead.model_validate(row)


@router.get("")
async def list_uploads(uow: Uow, page: Paging, _caller: Reader) -> PageRead[UploadRead]:
    """List do-not-contact uploads, newest first."""
    async with uow:
        found = await runs.list_imports(
            uow, DO_NOT_CONTACT_UPLOADS, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, UploadRead.model_validate)


@router.get("/{upload_id}")
async def get_upload(upload_id: UUID, uow: Uow, _caller: Reader) -> UploadRead:
    """Return a do-not-contact upload with its report.

    The counts in the report grow while a background job works on the upload.
    """
    async with uow:
        row = await runs.get_import(uow, DO_NOT_CONTACT_UPLOADS, import_id=upload_id)
    return UploadRead.model_validate(row)


@router.get(
    "/{upload_id}/errors",
    response_class=StreamingResponse,
    responses=CSV_OF_ERRORS,
)
async def get_upload_errors(
    upload_id: UUID, state: State, uow: Uow, _caller: Reader
) -> StreamingResponse:
    """Download a CSV file of the uploaded values that are not phone numbers.

    The values have the same order as in the uploaded file.
    """
    async with uow:
        await runs.get_import(uow, DO_NOT_CONTACT_UPLOADS, import_id=upload_id)
    name = f"do-not-contact-{upload_id}-errors.csv"
    return respond_with_errors(state.new_uow, DO_NOT_CONTACT_UPLOADS, upload_id, name=name)


@router.post(
    "/{upload_id}/cancel",
    openapi_extra=fails_with("do_not_contact_upload_finished") | shows(status="cancelled"),
)
async def cancel_upload(upload_id: UUID, state: State, uow: Uow, _caller: Writer) -> UploadRead:
    """Cancel a do-not-contact upload. The flags that the upload has already set are not removed."""
    async with uow:
        now = await uow.database_now()
        row = await runs.cancel(uow, DO_NOT_CONTACT_UPLOADS, import_id=upload_id, now=now)
    path = do_not_contact.upload_path(state.settings.data_dir, upload_id)
    await asyncio.to_thread(path.unlink, missing_ok=True)
    return UploadRead.model_validate(row)
