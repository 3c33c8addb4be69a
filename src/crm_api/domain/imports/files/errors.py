"""Errors of files that are imported."""

from crm_api.domain.kit.errors import Example, InvalidError, MalformedError, TooLargeError


class ImportFileError(InvalidError):
    """The whole file is refused; ``detail`` is the sentence for the user."""

    code = "invalid_file"
    title = "File cannot be imported"
    pointer = "/file"


class NotCsvError(ImportFileError):
    """A spreadsheet, a picture, an archive or other binary content."""

    code = "not_csv"
    title = "Not a CSV file"
    example = Example("The file is a PDF, not CSV; export it as CSV and try again.")


class EmptyFileError(ImportFileError):
    """No rows: nothing at all, or nothing under the header."""

    code = "empty_file"
    title = "Empty file"
    example = Example("The file is empty.")


class WorkbookTooLargeError(ImportFileError):
    """The unpacked workbook would exceed the limits; it may be a zip bomb."""

    code = "workbook_too_large"
    title = "Workbook too large"
    example = Example(
        "The workbook is too large to be unpacked here; export its sheet as CSV and try again."
    )


class UploadGoneError(ImportFileError):
    """The uploaded file is no longer stored."""

    code = "upload_gone"
    title = "Upload is gone"
    example = Example("The uploaded file has been given up; upload it again.")


class UploadChangedError(ImportFileError):
    """The rows differ from those that the dry run has read."""

    code = "upload_changed"
    title = "Upload has changed"


class FileTooLargeError(TooLargeError):
    """The file has more bytes than an import accepts."""

    code = "file_too_large"
    title = "File too large"
    example = Example("A file may have at most 512 MiB. Split it.")


class NoPhoneColumnError(ImportFileError):
    """No column holds phone numbers, neither by its name nor by its values."""

    code = "no_phone_column"
    title = "No phone column"
    example = Example(
        "No column holds phone numbers. Columns found: “name”. Name the right one in `mapping`."
    )


class MalformedUploadError(MalformedError):
    """The body is not a multipart form, or it ends too early."""

    code = "malformed_upload"
    title = "Malformed upload"
    example = Example("Send the file as multipart/form-data in the field `file`.")


_FILE_ERRORS: dict[str, type[ImportFileError]] = {
    kind.code: kind
    for kind in (
        ImportFileError,
        NotCsvError,
        EmptyFileError,
        WorkbookTooLargeError,
        UploadGoneError,
        UploadChangedError,
        NoPhoneColumnError,
    )
}


def file_error(*, code: str, detail: str) -> ImportFileError:
    """Build the error that another process reported."""
    return _FILE_ERRORS[code](detail)
