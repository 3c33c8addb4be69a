"""Errors of contact imports. Errors about the file itself are in ``imports/files``."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import example_id


class InvalidMappingError(InvalidError):
    """The mapping has a column or field that does not exist, or two columns for one field."""

    code = "invalid_mapping"
    title = "Invalid mapping"
    example = Example(
        "The mapping does not fit the file. `errors` names the columns to correct.",
        errors=[
            FieldProblem(
                pointer="/mapping/tel",
                code="unknown_column",
                detail="The file has no column with this name. Its columns are: phone",
            )
        ],
    )


class ImportOptionError(InvalidError):
    """An option of the import is unknown or has an invalid value; ``errors`` names the option."""

    code = "invalid_import_option"
    title = "Invalid import option"
    example = Example(
        "No list has this id. Give the id of an existing list, or a `list_name`.",
        errors=[
            FieldProblem(
                pointer="/list_id",
                code="unknown_list",
                detail="No list has this id. Give the id of an existing list, or a `list_name`.",
            )
        ],
    )


class ImportNotFoundError(NotFoundError):
    """No import has this id."""

    code = "import_not_found"
    title = "Import not found"
    detail = "No import has this id. GET /v1/imports lists the imports."


class ImportFinishedError(ConflictError):
    """The import has ended and cannot be cancelled."""

    code = "import_finished"
    title = "Import has ended"
    example = Example("completed")

    def __init__(self, status: str) -> None:
        super().__init__(
            f"The import has already ended with the status `{status}`, so it cannot be cancelled.",
            import_status=status,
        )


class NotADryRunError(ConflictError):
    """The import is not a dry run, so it cannot be committed or corrected."""

    code = "not_a_dry_run"
    title = "Not a dry run"
    detail = "This import is not a dry run. Only a dry run can be committed or corrected."


class DryRunNotReadyError(ConflictError):
    """The dry run cannot be committed or corrected now.

    It has not completed, or its rows were deleted, or the import that an earlier commit created is
    being undone.
    """

    code = "dry_run_not_ready"
    title = "Dry run is not ready"
    example = Example("The dry run is pending. Only a completed dry run can be committed.")


class DryRunCommittedError(ConflictError):
    """The dry run was committed as the import ``import_id``, so it cannot be corrected."""

    code = "dry_run_committed"
    title = "Dry run was committed"
    example = Example(
        "The dry run was committed, so it cannot be corrected. Upload the file again. To "
        "remove what the commit stored, undo the import `import_id`.",
        import_id=example_id("import"),
    )


class NotUndoableError(ConflictError):
    """The import cannot be undone: it is a dry run, has not ended, or ended too long ago."""

    code = "import_not_undoable"
    title = "Import cannot be undone"
    detail = "A dry run has changed nothing, so there is nothing to undo."
