"""Store do-not-contact uploads, and flag their numbers so that they get no more messages."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.do_not_contact.errors import UploadFinishedError, UploadNotFoundError
from crm_api.domain.imports.do_not_contact.models import DoNotContactUpload, DoNotContactUploadError
from crm_api.domain.imports.do_not_contact.schemas import LATELY_DAYS, UploadOptions
from crm_api.domain.imports.do_not_contact.source import NumberChunk
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.runs import LEASE, ImportKind
from crm_api.domain.messaging.consent_decisions.suppression import suppress_numbers
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.jobs import JobName

DO_NOT_CONTACT_UPLOADS = ImportKind(
    table=DoNotContactUpload,
    error_table=DoNotContactUploadError,
    job=JobName.RUN_DO_NOT_CONTACT,
    list_name="do_not_contact_uploads",
    not_found=UploadNotFoundError,
    has_ended=UploadFinishedError,
)


def upload_path(data_dir: Path, upload_id: UUID) -> Path:
    """Return the path of an upload's file. The file is deleted when the upload ends."""
    return data_dir / "do-not-contact" / f"{upload_id}.csv"


async def create_upload(
    uow: UnitOfWork,
    *,
    upload_id: UUID,
    file_name: str | None,
    byte_size: int,
    columns: list[str],
    options: UploadOptions,
    actor: str,
    now: datetime,
) -> DoNotContactUpload:
    """Store an uploaded list as pending, and request the job ``run_do_not_contact``."""
    values = {
        "id": upload_id,
        "file_name": file_name,
        "byte_size": byte_size,
        "columns": columns,
        "reason": options.reason,
        "actor": actor,
        "dry_run": options.dry_run,
    }
    return await runs.accept(uow, DO_NOT_CONTACT_UPLOADS, values=values, now=now)


async def needs_rows(uow: UnitOfWork, *, upload_id: UUID) -> bool:
    """Return True if the upload has not ended, so that its file is still needed."""
    row = await runs.get_import(uow, DO_NOT_CONTACT_UPLOADS, import_id=upload_id)
    return row.finished_at is None


async def apply_chunk(
    uow: UnitOfWork, *, upload_id: UUID, chunk: NumberChunk, now: datetime
) -> bool:
    """Flag the numbers of a chunk ``do_not_contact``, and store the progress of the upload.

    Waiting messages to these numbers are withdrawn. A dry run stores only the progress, the counts
    and the errors.

    Returns:
        False if the upload has ended or another worker has continued it. The caller then stops.
    """
    row = await runs.lock_running(
        uow.session, DO_NOT_CONTACT_UPLOADS, import_id=upload_id, rows_processed=chunk.start
    )
    if row is None:
        return False
    phones = sorted(chunk.phones)
    found = await survey_numbers(
        uow.session, phones=phones, since=now - timedelta(days=LATELY_DAYS), now=now
    )
    if phones and not row.dry_run:
        await suppress_numbers(uow, phones=phones, reason=row.reason, now=now)
    if chunk.faults:
        errors = [asdict(fault) for fault in chunk.faults]
        await runs.add_errors(
            uow.session, DO_NOT_CONTACT_UPLOADS, import_id=upload_id, errors=errors
        )
    row.rows_processed = chunk.end
    row.numbers_read += chunk.read
    row.invalid += len(chunk.faults)
    row.duplicates_in_file += chunk.duplicates
    row.already_suppressed += found.suppressed
    row.newly_suppressed += len(phones) - found.suppressed
    row.contacts_matched += found.contacts
    row.texts_withdrawn += found.waiting + found.claimed
    row.texts_sent_lately += found.sent
    row.lease_until = now + LEASE
    row.updated_at = now
    await uow.session.flush()
    return True


@dataclass(frozen=True, slots=True)
class NumberSurvey:
    """Counts about the phone numbers of a chunk, before the flags of these numbers are set.

    Attributes:
        suppressed: The number of phone numbers that are opted out or flagged ``do_not_contact``.
        contacts: The number of contacts that have one of the phone numbers.
        waiting: The number of campaign messages that no worker has claimed yet.
        claimed: The number of campaign messages that are claimed, but not sent.
        sent: The number of messages that the provider accepted since a given time.
    """

    suppressed: int
    contacts: int
    waiting: int
    claimed: int
    sent: int


_SURVEY_NUMBERS = text("""
    SELECT
        (SELECT count(DISTINCT f.phone) FROM contact_flag f
         WHERE f.phone = ANY(CAST(:phones AS text[]))
           AND f.flag_type IN ('opted_out', 'do_not_contact')
           AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))) AS suppressed,
        (SELECT count(*) FROM contact c
         WHERE c.phone = ANY(CAST(:phones AS text[])) AND c.deleted_at IS NULL) AS contacts,
        (SELECT count(*) FROM campaign_membership m
         WHERE m.phone = ANY(CAST(:phones AS text[]))
           AND m.status IN ('pending', 'review', 'held')) AS waiting,
        (SELECT count(*) FROM send_attempt a
         WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
           AND a.kind = 'campaign') AS claimed,
        (SELECT count(*) FROM send_attempt a
         WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.accepted_at >= :since) AS sent
""")


async def survey_numbers(
    session: AsyncSession, *, phones: Sequence[str], since: datetime, now: datetime
) -> NumberSurvey:
    """Count the flags, contacts and messages of these phone numbers.

    Messages that the provider accepted before ``since`` are not counted.
    """
    values = {"phones": list(phones), "since": since, "now": now}
    return typed_row(NumberSurvey, (await session.execute(_SURVEY_NUMBERS, values)).one())
