"""Do-not-contact uploads as the API shows them, and the fields of the form."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from crm_api.domain.do_not_contact.errors import UploadOptionError
from crm_api.domain.errors import FieldProblem
from crm_api.domain.fields import Name200
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

LATELY_DAYS = 30
"""How far back the report counts texts that were sent to the numbers."""


class UploadOptions(RequestModel):
    """What an upload may say beside its file; every value comes as text of a form field."""

    reason: Name200 = "do-not-contact list"
    column: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    dry_run: bool = False


class UploadRead(ReadModel):
    """One upload and its scrub report.

    Attributes:
        columns: Those that were read.
        numbers_read: Good or not; ``invalid`` ones are in the error file. The others are
            ``duplicates_in_file``, ``already_suppressed`` (opted out or on such a list before) or
            ``newly_suppressed``.
        contacts_matched: Contacts that have one of the numbers.
        texts_withdrawn: Campaign texts that waited for them and will not leave.
        texts_sent_lately: Texts that the numbers got in the last 30 days: too late for these.
        dry_run: The counts say what would happen, and nothing was changed.
    """

    id: Id
    status: str
    file_name: str | None
    columns: list[str]
    reason: str
    actor: str
    dry_run: bool
    rows_processed: int
    numbers_read: int
    invalid: int
    duplicates_in_file: int
    already_suppressed: int
    newly_suppressed: int
    contacts_matched: int
    texts_withdrawn: int
    texts_sent_lately: int
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    error: str | None


def read_options(fields: Mapping[str, str]) -> UploadOptions:
    """Read the form's fields; an empty one counts as left out.

    Raises:
        UploadOptionError: With one problem for each field.
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value.strip()}
    try:
        return UploadOptions.model_validate(given)
    except ValidationError as error:
        faults = [
            FieldProblem(
                pointer="/" + "/".join(str(part) for part in fault["loc"]),
                code="unknown_field" if fault["type"] == "extra_forbidden" else fault["type"],
                detail=fault["msg"],
            )
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise UploadOptionError(f"{len(faults)} option(s) are wrong.", errors=faults) from None
