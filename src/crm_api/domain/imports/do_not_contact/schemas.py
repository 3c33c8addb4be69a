"""Request and response models of do-not-contact uploads."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from crm_api.domain.imports.do_not_contact.errors import UploadOptionError
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.faults import read_form
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary

LATELY_DAYS = 30
"""How far back the report counts messages that were sent to the numbers."""


class UploadOptions(RequestModel):
    """The options of an upload besides its file; every value is the text of a form field."""

    reason: Name200 = "do-not-contact list"
    column: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    dry_run: bool = False


class UploadRead(ReadModel):
    """One upload and its report.

    Attributes:
        file_name: The name of the uploaded file.
        columns: The columns that were read.
        dry_run: If true, the counts say what would happen, and nothing was changed.
        rows_processed: The number of rows that were read so far.
        numbers_read: All numbers, good or not. They divide into ``invalid`` (in the error file),
            ``duplicates_in_file``, ``already_suppressed`` (opted out or flagged before) and
            ``newly_suppressed``.
        invalid: The number of rows that could not be imported.
        duplicates_in_file: The number of rows whose phone number is in an earlier row.
        already_suppressed: The number of phone numbers that were already suppressed.
        newly_suppressed: The number of phone numbers that were not suppressed before.
        contacts_matched: Contacts that have one of the numbers.
        texts_withdrawn: Waiting campaign messages to the numbers; they will not be sent.
        texts_sent_lately: Messages that the numbers got in the last 30 days, before the upload.
        error: What went wrong, as a sentence; null without a failure.
    """

    model_config = example(
        status="completed",
        file_name="state-list.csv",
        columns=["phone"],
        reason="state list",
        rows_processed=1200,
        numbers_read=1199,
        invalid=1,
        newly_suppressed=14,
        contacts_matched=14,
        texts_withdrawn=3,
    )

    id: Id
    status: Annotated[str, Vocabulary(ImportStatus, "DoNotContactUploadStatus")]
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
    """Validate the form's fields; a blank one counts as left out.

    Raises:
        UploadOptionError: There are faults; ``errors`` has one problem for each field.
    """
    return read_form(UploadOptions, fields, error=UploadOptionError)
