"""Ensure that a campaign sends no message twice after the database was restored from a backup.

The restored database does not contain the messages that were sent after the backup.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.errors import AudienceLostError, NotReconciledError
from crm_api.domain.messaging.sends.vocabulary import PauseReason
from crm_api.platform.database import UnitOfWork, typed_row

_CLOCK_MARGIN = timedelta(minutes=1)
"""How much earlier than the backup a message may be dated to count as sent after the backup. The
provider dates the message, and its clock may be behind ours."""

_LOCK_RESTORED = text("""
    SELECT c.paused_evidence AS evidence, c.recipients_total IS NOT NULL AS is_whole
    FROM campaign c
    WHERE c.id = :campaign_id AND c.status = 'paused' AND c.paused_reason = :reason
    FOR NO KEY UPDATE
""")

_IS_RECONCILED = text("""
    SELECT EXISTS (
        SELECT FROM reconciliation_run r
        WHERE r.status = 'completed' AND (r.since IS NULL OR r.since <= :since)
          AND r.until >= :until
    )
""")

# After a restore from a backup, the reconciliation copies all messages in the conversations of the
# line from the provider. So `last_outgoing_at` also includes the messages that were sent after the
# backup.
_SET_ASIDE = text("""
    UPDATE campaign_membership m
    SET status = CASE WHEN m.step = 0 THEN 'review' ELSE 'skipped' END,
        skip_reason = CASE WHEN m.step > 0 THEN 'texted_since_backup' END,
        updated_at = :now
    FROM campaign c JOIN conversation v ON v.line_id = c.line_id
    WHERE c.id = :campaign_id AND m.campaign_id = c.id AND m.phone = v.phone
      AND m.status IN ('pending', 'held')
      AND v.last_outgoing_at >= CAST(:since AS timestamptz)
""")


@dataclass(frozen=True, slots=True)
class _RestoredCampaign:
    """A campaign that was paused because the database was restored from a backup.

    Attributes:
        evidence: The column ``paused_evidence``, with the instants of the backup and the restore.
        is_whole: True if the audience was completely stored when the backup was made.
    """

    evidence: dict[str, Any]
    is_whole: bool


async def set_aside_messaged_recipients(
    uow: UnitOfWork, *, campaign_id: UUID, now: datetime
) -> None:
    """Set aside recipients who may already have their message, before a restored campaign resumes.

    The function changes waiting recipients (``pending`` or ``held``) if the line has sent them a
    message or called them since the backup. Their new status is ``review`` at the first step, and
    ``skipped`` at a follow-up. Without this change, a person could get a message twice.

    Raises:
        NotReconciledError: The messages since the backup are not completely read from the provider.
        AudienceLostError: The backup has only a part of the campaign's recipients.
    """
    values = {"campaign_id": campaign_id, "reason": PauseReason.RESTORED}
    row = (await uow.session.execute(_LOCK_RESTORED, values)).one_or_none()
    restored = typed_row(_RestoredCampaign, row)
    if restored is None:
        return
    if not restored.is_whole:
        raise AudienceLostError
    made_at = datetime.fromisoformat(restored.evidence["backup_made_at"])
    restored_at = datetime.fromisoformat(restored.evidence["restored_at"])
    if not await uow.session.scalar(_IS_RECONCILED, {"since": made_at, "until": restored_at}):
        raise NotReconciledError(
            "The reconciliation is not completed. It finds the messages that were sent after the "
            "backup. GET /v1/reconciliation-runs shows its progress. Resume the campaign when the "
            "reconciliation is completed. If the reconciliation failed, request a new one: POST "
            "/v1/reconciliation-runs with "
            f"`since` set to {restored.evidence['backup_made_at']}."
        )
    await uow.session.execute(
        _SET_ASIDE, {"campaign_id": campaign_id, "since": made_at - _CLOCK_MARGIN, "now": now}
    )
