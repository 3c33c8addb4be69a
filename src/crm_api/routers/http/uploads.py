"""Write a multipart upload to disk while it arrives, so that a large file needs little memory."""

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
    """A received multipart form; ``receive`` has written its file to disk.

    Attributes:
        fields: The text fields of the form, by name.
        has_file: True if the form contained a file.
        file_name: The name of the file on the sender's computer; None if unknown.
        byte_size: The size of the file in bytes.
    """

    fields: dict[str, str] = field(default_factory=dict)
    has_file: bool = False
    file_name: str | None = None
    byte_size: int = 0


async def receive(request: Request, target: Path, *, max_bytes: int) -> Upload:
    """Read a multipart form: write its file to ``target``, and return its fields.

    A form without a file is accepted; see ``check_file``.

    Raises:
        MalformedUploadError: The body is not a multipart form, or it is incomplete.
        FileTooLargeError: The file has more than ``max_bytes`` bytes.
        ImportOptionError: The form contains more than one file.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise MalformedUploadError(
            "The request body is not a multipart form. Send the file as multipart/form-data in the "
            "field `file`."
        )
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
                "The multipart form in the request body is malformed. Create the form with a "
                "library and send it again."
            ) from error
    if not parts.has_ended:
        raise MalformedUploadError(
            "The multipart form in the request body is incomplete. Send the file again."
        )
    return parts.upload


def check_file(upload: Upload) -> None:
    """Check that the form of an import has a file, or has none if its source is ``openphone``.

    The field ``source`` of the form names the source. Every other source needs a file.

    Raises:
        ImportOptionError: The file is missing, or there is a file but the source is ``openphone``.
    """
    is_wanted = upload.fields.get("source", "").strip() != ImportSourceKind.OPENPHONE
    if is_wanted and not upload.has_file:
        raise _wrong_file("missing", "The file is missing. Send the CSV in the form field `file`.")
    if upload.has_file and not is_wanted:
        raise _wrong_file(
            "conflicting_fields",
            "The form contains a file, but its source is not `file`. Remove the file, or set "
            "`source` to `file`.",
        )


async def read_json_object(request: Request) -> dict[str, Any]:
    """Read the JSON object in the body of a request for an import without a file.

    Raises:
        MalformedUploadError: The body is too long or is not a JSON object, or its field ``source``
            is missing or has the value ``file``.
    """
    content = bytearray()
    async for data in request.stream():
        content += data
        if len(content) > _MAX_FIELD_BYTES:
            raise MalformedUploadError(
                f"The JSON in the request body is too long. Send at most {_MAX_FIELD_BYTES} bytes."
            )
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise MalformedUploadError("The request body is not valid JSON. Correct it.") from error
    if not isinstance(body, dict) or body.get("source") in (None, ImportSourceKind.FILE):
        raise MalformedUploadError(
            "The JSON in the request body has no `source`, or its `source` needs a file. Send a "
            "file as multipart/form-data in the field `file`, or set another source, for example "
            '{"source": "openphone"}.'
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
    """Receives the parts of a form from the parser.

    It stores text fields in ``upload``, and the file's bytes in ``waiting`` until they are written.
    """

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
        """Return the functions that the multipart parser calls while it reads a form."""
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
        """Return the bytes of the file that are not written to disk yet, and empty ``waiting``."""
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
        # The file name is only shown; it is never used as a path. Some browsers send a path instead
        # of a name, so the folders are removed.
        self.upload.file_name = name.replace("\\", "/").rpartition("/")[2][:_MAX_FILE_NAME] or None

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > _MAX_FIELD_BYTES:
                raise MalformedUploadError(
                    f"The form field {self._name!r} is too long. Send at most {_MAX_FIELD_BYTES} "
                    "bytes."
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
            raise MalformedUploadError(
                f"The form has too many fields. Send at most {_MAX_FIELDS} fields."
            )
        self.upload.fields[self._name] = self._value.decode(errors="replace")

    def _end(self) -> None:
        self.has_ended = True


def _too_large(max_bytes: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"The file is larger than the limit of {max_bytes // 2**20} MiB. Split the file into "
        "several files."
    )


def _wrong_file(code: str, detail: str) -> ImportOptionError:
    return ImportOptionError(
        detail, errors=[FieldProblem(pointer="/file", code=code, detail=detail)]
    )
