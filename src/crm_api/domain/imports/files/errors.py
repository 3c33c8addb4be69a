"""Errors about an uploaded file."""

from crm_api.domain.kit.errors import Example, InvalidError, MalformedError, TooLargeError

USE_CSV = "Export the data as CSV and upload that file."
"""The second sentence in the details of errors about files that are not CSV."""


class ImportFileError(InvalidError):
    """The file cannot be imported; ``detail`` says why."""

    code = "invalid_file"
    title = "File cannot be imported"
    pointer = "/file"
    example = Example("The file has more than 200,000 rows. Split it and upload the parts.")


class NotCsvError(ImportFileError):
    """The file is not CSV. It may be a PDF, a picture, an archive or other binary data."""

    code = "not_csv"
    title = "Not a CSV file"
    example = Example("The file is a PDF, not CSV. Export the data as CSV and upload that file.")


class EmptyFileError(ImportFileError):
    """The file has no rows, or only a header."""

    code = "empty_file"
    title = "Empty file"
    detail = "The file is empty. Upload a file with rows."


class WorkbookTooLargeError(ImportFileError):
    """Unpacking the workbook would need too much memory or time."""

    code = "workbook_too_large"
    title = "Workbook too large"
    detail = "The workbook is too large to unpack. Export its sheet as CSV and upload that file."


class UploadGoneError(ImportFileError):
    """The uploaded file is no longer stored."""

    code = "upload_gone"
    title = "Upload is gone"
    detail = "The uploaded file is no longer stored. Upload it again."


class UploadChangedError(ImportFileError):
    """The rows to import have changed since they were first read."""

    code = "upload_changed"
    title = "Upload has changed"
    detail = "The stored file differs from the file of the dry run. Upload the file again."


class FileTooLargeError(TooLargeError):
    """The uploaded file is larger than allowed."""

    code = "file_too_large"
    title = "File too large"
    example = Example("The file has more than 512 MiB. Split it and upload the parts.")


class NoPhoneColumnError(ImportFileError):
    """No column with phone numbers was found, by the names or by the values of the columns."""

    code = "no_phone_column"
    title = "No phone column"
    example = Example(
        "No column with phone numbers was found. The columns are: “name”. Name the phone column in "
        "`mapping` of an import, or in `column` of a do-not-contact upload."
    )


class MalformedUploadError(MalformedError):
    """The request body is not a multipart form, or the form is incomplete."""

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
    """Build the error from the code and the detail that another process reported."""
    return _FILE_ERRORS[code](detail)
