"""The HTTP route with which users upload pictures for messages."""

import asyncio
import hashlib
import tempfile
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.imports.files.errors import FileTooLargeError
from crm_api.domain.messaging.media import uploads
from crm_api.domain.messaging.media.errors import MediaFileMissingError, MediaTooLargeError
from crm_api.domain.messaging.media.fetching import StoredFile
from crm_api.domain.messaging.media.file_types import HEAD_BYTES
from crm_api.domain.messaging.media.schemas import MediaRead
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.routers.http.deps import Caller, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.http.uploads import receive

router = ResourceRouter(prefix="/v1", tags=["media"])
MaySend = Annotated[Caller, require(Scope.MESSAGES_SEND)]

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A JPEG, PNG or GIF picture of at most 5 MiB.",
                        },
                    },
                },
            }
        },
    }
}


@router.post(
    "/media",
    status_code=HTTPStatus.CREATED,
    openapi_extra=_FORM
    | fails_with(
        "invalid_import_option",
        "malformed_upload",
        "media_file_missing",
        "media_store_unavailable",
        "media_too_large",
        "media_type_not_sendable",
    ),
)
async def upload_media(request: Request, uow: Uow, caller: MaySend) -> MediaRead:
    """Upload a picture that you want to send with a message.

    To send the picture, give its id in `media_ids` of `POST /v1/messages`. A picture is deleted
    after 7 days if no message contains it. If the same picture is uploaded again, it gets the same
    id.
    """
    store: MediaStore = request.app.state.media
    with tempfile.TemporaryDirectory(prefix="crm-upload-") as folder:
        path = Path(folder) / "file"
        try:
            form = await receive(request, path, max_bytes=uploads.LARGEST_UPLOAD)
        except FileTooLargeError as error:
            raise MediaTooLargeError from error
        if not form.has_file or not form.byte_size:
            raise MediaFileMissingError
        with await asyncio.to_thread(path.open, "rb") as file:
            found = await asyncio.to_thread(_examine, file, form.byte_size)
            await store.put(found.sha256, file, size_bytes=found.size_bytes)
        async with uow:
            media_id = await uploads.store_upload(
                uow, found, caller_id=UUID(caller.id), now=await uow.database_now()
            )
            row = await uploads.read_media(uow, media_id)
    return MediaRead.model_validate(row)


def _examine(file: BufferedReader, size_bytes: int) -> StoredFile:
    content_type = uploads.require_sendable_type(file.read(HEAD_BYTES))
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredFile(sha256=sha256, content_type=content_type, size_bytes=size_bytes)
