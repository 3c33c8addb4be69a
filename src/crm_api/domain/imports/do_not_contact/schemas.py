"""Request and response models of do-not-contact uploads."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from crm_api.domain.imports.do_not_contact.errors import UploadOptionError
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.validation_errors import read_form
from crm_api.domain.kit.vocabulary import Vocabulary

LATELY_DAYS = 30
"""The report counts the messages that were sent to the numbers in this many days before the upload.
"""


class UploadOptions(RequestModel):
    """The options of a do-not-contact upload. The client sends them as form fields."""

    reason: Name200 = "do-not-contact list"
    column: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    dry_run: bool = False


class UploadRead(ReadModel):
    """A do-not-contact upload and its report.

    Attributes:
        file_name: The name of the uploaded file.
        columns: The names of the columns from which phone numbers are read.
        reason: The reason that is stored with the flag of each phone number.
        actor: The API key or user that uploaded the file, by name or e-mail address.
        dry_run: True if the upload only counts, and changes nothing.
        rows_processed: The number of rows that were read so far.
        numbers_read: The number of values that were read so far: the sum of ``invalid``,
            ``duplicates_in_file``, ``already_suppressed`` and ``newly_suppressed``.
        invalid: The number of values that are not phone numbers, and of rows that cannot be read.
            The error file lists them.
        duplicates_in_file: The number of phone numbers that occurred earlier in the file.
        already_suppressed: The number of phone numbers that were already opted out or flagged
            ``do_not_contact``.
        newly_suppressed: The number of phone numbers that were neither opted out nor flagged
            ``do_not_contact``.
        contacts_matched: The number of contacts that have one of the phone numbers.
        texts_withdrawn: The number of waiting campaign messages to the phone numbers. A dry run
            does not withdraw them.
        texts_sent_lately: The number of messages sent to these numbers in the last 30 days.
        error: Why the upload failed, as a sentence; null unless it failed.
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
    """Read the options from the form fields. A blank field is ignored.

    Raises:
        UploadOptionError: A field is unknown or has an invalid value; ``errors`` lists all such
            fields.
    """
    return read_form(UploadOptions, fields, error=UploadOptionError)
