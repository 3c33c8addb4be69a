"""Why a file cannot be imported."""

from crm_api.domain.errors import (
    ConflictError,
    FieldProblem,
    InvalidError,
    MalformedError,
    NotFoundError,
    TooLargeError,
)


class ImportFileError(InvalidError):
    """The file as a whole cannot be taken; ``detail`` is the sentence for the user."""

    code = "invalid_file"
    title = "File cannot be imported"

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer="/file", code=self.code, detail=detail)]
        )


class NotCsvError(ImportFileError):
    """A spreadsheet, a picture, an archive or other binary content."""

    code = "not_csv"
    title = "Not a CSV file"


class EmptyFileError(ImportFileError):
    """No rows: nothing at all, or nothing under the header."""

    code = "empty_file"
    title = "Empty file"


class WorkbookTooLargeError(ImportFileError):
    """Unpacked, the workbook would take more than a workbook may; it may be a zip bomb."""

    code = "workbook_too_large"
    title = "Workbook too large"


class UploadGoneError(ImportFileError):
    """The uploaded file is no longer where the upload put it."""

    code = "upload_gone"
    title = "Upload is gone"


class UploadChangedError(ImportFileError):
    """The rows are not those that the dry run has read."""

    code = "upload_changed"
    title = "Upload has changed"


class FileTooLargeError(TooLargeError):
    """More bytes than an import takes."""

    code = "file_too_large"
    title = "File too large"


class NoPhoneColumnError(ImportFileError):
    """No column holds phone numbers, neither by its name nor by its values."""

    code = "no_phone_column"
    title = "No phone column"


class InvalidMappingError(InvalidError):
    """The mapping names a column or a field that does not exist, or one field twice."""

    code = "invalid_mapping"
    title = "Invalid mapping"


class ImportOptionError(InvalidError):
    """An option of the upload is wrong; ``errors`` names it."""

    code = "invalid_import_option"
    title = "Invalid import option"


class ImportNotFoundError(NotFoundError):
    """No import has this id."""

    code = "import_not_found"
    title = "Import not found"


class ImportFinishedError(ConflictError):
    """The import has ended and cannot be cancelled."""

    code = "import_finished"
    title = "Import has ended"


class NotADryRunError(ConflictError):
    """Only a dry run can be committed or corrected."""

    code = "not_a_dry_run"
    title = "Not a dry run"


class DryRunNotReadyError(ConflictError):
    """The dry run has not completed, or what it read has been given up since."""

    code = "dry_run_not_ready"
    title = "Dry run is not ready"


class DryRunCommittedError(ConflictError):
    """The dry run has been committed, so it stays as it is; ``import_id`` says by which import."""

    code = "dry_run_committed"
    title = "Dry run was committed"


class NotUndoableError(ConflictError):
    """The import has not ended, changed nothing, or ended too long ago."""

    code = "import_not_undoable"
    title = "Import cannot be undone"


class MalformedUploadError(MalformedError):
    """The body is no multipart form, or it ends too early."""

    code = "malformed_upload"
    title = "Malformed upload"


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
    """Make again the error that another process has told of."""
    return _FILE_ERRORS[code](detail)
