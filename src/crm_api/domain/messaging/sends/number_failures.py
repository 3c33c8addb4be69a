"""Store failed messages whose error code says something about the phone number.

Each failure gets a row in the transaction that records the provider's response or report. The job
``learn_from_failures`` evaluates the rows in another transaction. The evaluation waits for locks,
and the recording must not wait for them.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.models.number_failures import KIND_OF_CODE
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

# The failure of a message gets only one row, even if the failure is reported several times.
NOTE_OURS = text("""
    INSERT INTO number_failure (id, phone, kind, code, line_id, activity_id, failed_at, created_at)
    SELECT uuid_v7(), a.phone, k.kind, a.error_code, a.line_id, a.activity_id,
           least(coalesce(a.reported_at, a.answered_at, :now), CAST(:now AS timestamptz)), :now
    FROM send_attempt a
    JOIN unnest(CAST(:codes AS text[]), CAST(:kinds AS text[])) AS k (code, kind)
        ON k.code = a.error_code
    WHERE a.id = ANY(CAST(:ids AS uuid[])) AND a.status IN ('failed', 'refused')
    ORDER BY a.activity_id
    ON CONFLICT (activity_id) DO NOTHING
    RETURNING id
""")


NOTE_FOREIGN = text("""
    INSERT INTO number_failure (id, phone, kind, code, line_id, activity_id, failed_at, created_at)
    VALUES (uuid_v7(), :phone, :kind, :code, :line_id, :activity_id,
            least(CAST(:failed_at AS timestamptz), CAST(:now AS timestamptz)), :now)
    ON CONFLICT (activity_id) DO NOTHING
    RETURNING id
""")

LEARN_FROM_FAILURES = Job(name=JobName.LEARN_FROM_FAILURES)


async def note_failed_attempts(
    uow: UnitOfWork, attempt_ids: Sequence[UUID], *, now: datetime
) -> None:
    """Store the attempts that failed because of the phone number itself.

    For example, the number is a landline, or the person opted out at the provider. The error code
    of the attempt shows this. Other failed attempts are not stored here.

    If an attempt is stored, a job evaluates the failures after the commit.
    """
    if not attempt_ids:
        return
    noted = await uow.session.execute(
        NOTE_OURS,
        {
            "ids": list(attempt_ids),
            "codes": list(KIND_OF_CODE),
            "kinds": [kind.value for kind in KIND_OF_CODE.values()],
            "now": now,
        },
    )
    if noted.first() is not None:
        uow.after_commit(LEARN_FROM_FAILURES)


async def note_foreign_failure(
    uow: UnitOfWork,
    *,
    phone: str,
    code: str,
    line_id: UUID,
    activity_id: UUID,
    failed_at: datetime,
    now: datetime,
) -> None:
    """Store the failure of a message that was sent in the provider's app.

    Do nothing if the error code says nothing about the phone number, or if the failure is already
    stored. Otherwise request the job that evaluates failures.
    """
    kind = KIND_OF_CODE.get(code)
    if kind is None:
        return
    noted = await uow.session.execute(
        NOTE_FOREIGN,
        {
            "phone": phone,
            "kind": kind.value,
            "code": code,
            "line_id": line_id,
            "activity_id": activity_id,
            "failed_at": failed_at,
            "now": now,
        },
    )
    if noted.first() is not None:
        uow.after_commit(LEARN_FROM_FAILURES)
