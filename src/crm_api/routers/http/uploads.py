"""Stream a multipart upload to one file on disk, never whole in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from crm_api.domain.imports.contacts.errors import ImportOptionError
from crm_api.domain.imports.contacts.models import ImportSourceKind
from crm_api.domain.imports.files.errors import FileTooLargeError, MalformedUploadError
from crm_api.domain.kit.errors import FieldProblem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 1_000_000
_MAX_FIELDS = 20
_MAX_FILE_NAME = 255
_WRITE_BYTES = 1 << 20
_FILE_FIELD = "file"


@dataclass
class Upload:
    """The fields of a form. The content of its file, if it had one, is at the target path."""

    fields: dict[str, str] = field(default_factory=dict)
    has_file: bool = False
    file_name: str | None = None
    byte_size: int = 0


async def receive(request: Request, target: Path, *, max_bytes: int) -> Upload:
    """Stream the file of a form to ``target`` and read the fields; a form without a file is valid.

    Raises:
        MalformedUploadError: The body is not a multipart form, or it is incomplete.
        FileTooLargeError: The file has more than ``max_bytes``.
        ImportOptionError: The form has more than one file.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise MalformedUploadError("Send the file as multipart/form-data in the field `file`.")
    if int(request.headers.get("content-length") or 0) > max_bytes + _MAX_FIELD_BYTES:
        raise _too_large(max_bytes)
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    with await asyncio.to_thread(target.open, "xb") as file:
        parts = _Parts(max_bytes)
        parser = MultipartParser(options[b"boundary"], callbacks=parts.callbacks())
        try:
            await _feed(request.stream(), parser, parts, file)
            parser.finalize()
        except FormParserError as error:
            raise MalformedUploadError(
                "The multipart body is malformed. Send it again with a form library."
            ) from error
    if not parts.has_ended:
        raise MalformedUploadError("The multipart body is incomplete. Send the file again.")
    return parts.upload


def check_file(upload: Upload) -> None:
    """Check that a form has a file exactly if its source is ``file``.

    Raises:
        ImportOptionError: The file is missing, or there is a file with another source.
    """
    is_wanted = upload.fields.get("source", "").strip() != ImportSourceKind.OPENPHONE
    if is_wanted and not upload.has_file:
        raise _wrong_file("missing", "The file is missing. Send the CSV in the form field `file`.")
    if upload.has_file and not is_wanted:
        raise _wrong_file(
            "conflicting_fields", "Only the source `file` takes a file. Leave out one of the two."
        )


async def read_json_object(request: Request) -> dict[str, Any]:
    """Read the small JSON object that requests an import without a file.

    Raises:
        MalformedUploadError: The body is too long, not a JSON object, or names no other source.
    """
    content = bytearray()
    async for data in request.stream():
        content += data
        if len(content) > _MAX_FIELD_BYTES:
            raise MalformedUploadError(
                f"The JSON body is too long. Send at most {_MAX_FIELD_BYTES} bytes."
            )
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise MalformedUploadError("The body is not valid JSON. Correct it.") from error
    if not isinstance(body, dict) or body.get("source") in (None, ImportSourceKind.FILE):
        raise MalformedUploadError(
            "Send a file as multipart/form-data in the field `file`. A JSON body must name another "
            'source, for example {"source": "openphone"}.'
        )
    return body


async def _feed(
    stream: AsyncIterator[bytes], parser: MultipartParser, parts: "_Parts", file: BinaryIO
) -> None:
    async for data in stream:
        parser.write(data)
        if len(parts.waiting) >= _WRITE_BYTES:
            await asyncio.to_thread(file.write, parts.take_waiting())
    await asyncio.to_thread(file.write, parts.take_waiting())


class _Parts:
    """Collects the parts of a form from the parser: it keeps fields and passes the file on."""

    def __init__(self, max_bytes: int) -> None:
        self.upload = Upload()
        self.waiting = bytearray()
        self.has_ended = False
        self._max_bytes = max_bytes
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._is_file = False
        self._value = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        """Return the callbacks for the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._start_content,
            "on_part_data": self._add_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take_waiting(self) -> bytes:
        """Return the file's bytes that are not written yet."""
        taken, self.waiting = bytes(self.waiting), bytearray()
        return taken

    def _begin(self) -> None:
        self._headers = {}
        self._value = bytearray()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _start_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._is_file = self._name == _FILE_FIELD
        if not self._is_file:
            return
        if self.upload.has_file:
            raise _wrong_file("more_than_one", "The form has more than one file. Send one file.")
        self.upload.has_file = True
        name = options.get(b"filename", b"").decode(errors="replace")
        # Only shown, never used as a path. Some browsers send the whole path; keep the file name.
        self.upload.file_name = name.replace("\\", "/").rpartition("/")[2][:_MAX_FILE_NAME] or None

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > _MAX_FIELD_BYTES:
                raise MalformedUploadError(
                    f"The field {self._name!r} is too long. Send at most {_MAX_FIELD_BYTES} bytes."
                )
            return
        self.upload.byte_size += end - start
        if self.upload.byte_size > self._max_bytes:
            raise _too_large(self._max_bytes)
        self.waiting += data[start:end]

    def _end_part(self) -> None:
        if self._is_file:
            return
        if len(self.upload.fields) >= _MAX_FIELDS:
            raise MalformedUploadError(f"The form has too many fields. Send at most {_MAX_FIELDS}.")
        self.upload.fields[self._name] = self._value.decode(errors="replace")

    def _end(self) -> None:
        self.has_ended = True


def _too_large(max_bytes: int) -> FileTooLargeError:
    return FileTooLargeError(f"A file may have at most {max_bytes // 2**20} MiB. Split it.")


def _wrong_file(code: str, detail: str) -> ImportOptionError:
    return ImportOptionError(
        detail, errors=[FieldProblem(pointer="/file", code=code, detail=detail)]
    )
