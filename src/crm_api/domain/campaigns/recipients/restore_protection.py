"""Protect people of a restored campaign from a second message that the backup does not know."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.errors import AudienceLostError, NotReconciledError
from crm_api.domain.messaging.sends.vocabulary import PauseReason
from crm_api.platform.database import UnitOfWork, typed_row

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

# A message that the provider accepted is in the conversation of its line, no matter who sent it.
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
    """A campaign that a restore has paused.

    Attributes:
        evidence: Its ``paused_evidence``: when the backup was made and restored.
        is_whole: Its audience was completely stored when the backup was made.
    """

    evidence: dict[str, Any]
    is_whole: bool


async def set_aside_messaged_recipients(
    uow: UnitOfWork, *, campaign_id: UUID, now: datetime
) -> None:
    """Set aside who got a message since the backup, before a restored campaign is resumed.

    First messages are put in review, where a person decides. Follow-ups to such a person are
    skipped, because they may be what was sent. A campaign that was paused for another reason is not
    changed.

    Raises:
        NotReconciledError: No complete reconciliation has covered the whole time since the backup.
        AudienceLostError: The backup was made while the audience was being stored.
    """
    values = {"campaign_id": campaign_id, "reason": PauseReason.RESTORED}
    row = (await uow.session.execute(_LOCK_RESTORED, values)).one_or_none()
    restored = typed_row(_RestoredCampaign, row)
    if restored is None:
        return
    if not restored.is_whole:
        raise AudienceLostError(
            "The backup was made while the audience of this campaign was being stored. Cancel the "
            "campaign, and start a clone with previously_contacted set to skip or review."
        )
    made_at = datetime.fromisoformat(restored.evidence["backup_made_at"])
    restored_at = datetime.fromisoformat(restored.evidence["restored_at"])
    if not await uow.session.scalar(_IS_RECONCILED, {"since": made_at, "until": restored_at}):
        raise NotReconciledError(
            "The reconciliation that finds messages sent since the backup has not ended. "
            "GET /v1/reconciliation-runs shows its progress; resume the campaign afterwards. If it "
            "failed, request another with POST /v1/reconciliation-runs, with since "
            f"{restored.evidence['backup_made_at']}."
        )
    await uow.session.execute(
        _SET_ASIDE, {"campaign_id": campaign_id, "since": made_at, "now": now}
    )
