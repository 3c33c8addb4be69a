"""Request the undo of an import, and count what the undo would revert."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.imports.contacts.errors import ImportNotFoundError, NotUndoableError
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, ContactImport, UndoState
from crm_api.domain.imports.contacts.write import flag_reason
from crm_api.domain.imports.files import runs
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

_MADE_AND_USED = """
    made AS MATERIALIZED (
        SELECT c.id, c.phone, k.applied_at, c.updated_at <> k.applied_at AS is_edited
        FROM contact_import_chunk k
        CROSS JOIN LATERAL unnest(k.created_ids) AS made (id)
        JOIN contact c ON c.id = made.id AND c.deleted_at IS NULL
        WHERE k.import_id = :import_id AND {chunks}
    ), used AS MATERIALIZED (
        SELECT m.id FROM made m
        JOIN activity a ON a.contact_id = m.id AND a.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m
        JOIN send_attempt s ON s.phone = m.phone AND s.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m
        JOIN contact_flag f ON f.phone = m.phone AND f.created_at >= m.applied_at
            AND f.reason IS DISTINCT FROM :own_reason
        UNION ALL SELECT m.id FROM made m
        JOIN contact_note n ON n.contact_id = m.id AND n.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m
        JOIN task t ON t.contact_id = m.id AND t.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m
        JOIN appointment v ON v.contact_id = m.id AND v.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m
        JOIN quote q ON q.contact_id = m.id AND q.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m
        JOIN invoice i ON i.contact_id = m.id AND i.created_at >= m.applied_at
        UNION ALL SELECT m.id FROM made m JOIN outcome_subject o ON o.contact_id = m.id
    )"""


def made_and_used(chunks: str) -> str:
    """Return the SQL of two CTEs with contacts that an import created: ``made`` and ``used``.

    - ``made`` has the created contacts that were not deleted. Its columns are ``id``, ``phone``,
      ``applied_at`` and ``is_edited``.
    - ``used`` has the ids of the contacts in ``made`` that were used after the import (see
      ``undo.CreatedContacts``). An id can occur several times.

    Args:
        chunks: The SQL condition that selects chunks of the import. A chunk has the alias ``k``.
    """
    return _MADE_AND_USED.format(chunks=chunks)


KEPT_FOR = timedelta(days=30)
"""How long an import can be undone, or a dry run can be committed, after it has ended.

After this time, the data that an undo or a commit needs is deleted.
"""


COUNTS = ("removed", "restored", "memberships_removed", "left_edited", "left_in_use")


async def request_undo(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> ContactImport:
    """Mark an import to be undone, and request the job ``run_imports``.

    A second request changes nothing.

    Raises:
        ImportNotFoundError: No import has this id.
        NotUndoableError: The import is a dry run, has not ended, or ended too long ago.
    """
    row = await runs.lock_import(uow.session, CONTACT_IMPORTS, import_id=import_id)
    if row is None:
        raise ImportNotFoundError
    if row.undo_state is not None:
        return row
    if row.dry_run:
        raise NotUndoableError
    if row.finished_at is None:
        raise NotUndoableError("The import has not ended. Cancel it first, then undo it.")
    if row.cleaned_at is not None:
        raise NotUndoableError(
            f"The import ended more than {KEPT_FOR.days} days ago, so it can no longer be undone."
        )
    row.undo_state = UndoState.PENDING
    row.undo_counts = dict.fromkeys(COUNTS, 0)
    row.lease_until = None
    row.updated_at = now
    await uow.session.flush()
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


_COUNT = text(f"""
    WITH {made_and_used("k.undone_at IS NULL")}, judged AS MATERIALIZED (
        SELECT m.id, m.is_edited, m.id IN (SELECT u.id FROM used u) AS is_used FROM made m
    ), changed AS (
        SELECT count(*) AS named,
            count(*) FILTER (WHERE c.updated_at = k.applied_at AND c.deleted_at IS NULL) AS restored
        FROM contact_import_chunk k
        CROSS JOIN LATERAL unnest(k.changed_ids) AS one (id)
        JOIN contact c ON c.id = one.id
        WHERE k.import_id = :import_id AND k.undone_at IS NULL
    ), members AS (
        SELECT count(*) AS leaving
        FROM contact_import_chunk k
        JOIN contact_list_member m
            ON m.list_id = CAST(:list_id AS uuid) AND m.added_at = k.applied_at
        JOIN contact c ON c.id = m.contact_id AND c.updated_at <= k.applied_at
        WHERE k.import_id = :import_id AND k.undone_at IS NULL
          AND NOT EXISTS (SELECT FROM used u WHERE u.id = c.id)
    )
    SELECT
        (SELECT count(*) FROM judged WHERE NOT is_edited AND NOT is_used) AS removed,
        changed.restored,
        members.leaving AS memberships_removed,
        changed.named - changed.restored
            + (SELECT count(*) FROM judged WHERE is_edited) AS left_edited,
        (SELECT count(*) FROM judged WHERE is_used AND NOT is_edited) AS left_in_use
    FROM changed, members
""")


async def count_undo(uow: UnitOfWork, row: ContactImport) -> dict[str, int]:
    """Count what an undo would revert, and what it would not change.

    Returns:
        A count for each name in ``COUNTS``, such as ``removed`` or ``left_edited``.
    """
    values = {"import_id": row.id, "list_id": row.list_id, "own_reason": flag_reason(row.id)}
    return dict((await uow.session.execute(_COUNT, values)).mappings().one())
