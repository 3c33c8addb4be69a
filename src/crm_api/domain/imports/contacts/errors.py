"""Errors of imports."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import example_id


class InvalidMappingError(InvalidError):
    """The mapping names a column or a field that does not exist, or one field twice."""

    code = "invalid_mapping"
    title = "Invalid mapping"
    example = Example(
        "The mapping does not fit the file.",
        errors=[
            FieldProblem(
                pointer="/mapping/tel",
                code="unknown_column",
                detail="The file has no such column; it has: phone",
            )
        ],
    )


class ImportOptionError(InvalidError):
    """An option of the upload is wrong; ``errors`` names it."""

    code = "invalid_import_option"
    title = "Invalid import option"
    example = Example(
        "There is no list with this id.",
        errors=[
            FieldProblem(
                pointer="/list_id", code="unknown_list", detail="There is no list with this id."
            )
        ],
    )


class ImportNotFoundError(NotFoundError):
    """No import has this id."""

    code = "import_not_found"
    title = "Import not found"


class ImportFinishedError(ConflictError):
    """The import has ended and cannot be cancelled."""

    code = "import_finished"
    title = "Import has ended"
    example = Example("The import has completed already.", import_status="completed")


class NotADryRunError(ConflictError):
    """Only a dry run can be committed or corrected."""

    code = "not_a_dry_run"
    title = "Not a dry run"
    example = Example("Only a dry run can be committed; this import has changed things.")


class DryRunNotReadyError(ConflictError):
    """The dry run has not completed, or its rows were deleted."""

    code = "dry_run_not_ready"
    title = "Dry run is not ready"
    example = Example("The dry run is pending; only a completed one can be committed.")


class DryRunCommittedError(ConflictError):
    """The dry run was committed and can no longer change; ``import_id`` is the commit."""

    code = "dry_run_committed"
    title = "Dry run was committed"
    example = Example(
        "The dry run has been committed; undo that first, or upload the file again.",
        import_id=example_id("import"),
    )


class NotUndoableError(ConflictError):
    """The import has not ended, changed nothing, or ended too long ago."""

    code = "import_not_undoable"
    title = "Import cannot be undone"
    example = Example("A dry run has changed nothing, so there is nothing to undo.")
