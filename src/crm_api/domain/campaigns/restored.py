"""Campaigns of a restored backup: whoever was texted since it was made is not texted unasked."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import restored_queries as queries
from crm_api.domain.campaigns.errors import AudienceLostError, NotReconciledError
from crm_api.domain.reconciliation import service as reconciliation

RESTORED = "restored"
"""The ``paused_reason`` of every campaign that was live in a backup; its evidence has the times."""


async def hold_back(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> None:
    """Before a restored campaign goes on, take out of it who got a text since its backup.

    First texts are put in review, where a person decides; follow-ups to such a person are skipped,
    for they may be what was sent. Does nothing for a campaign that was paused for another reason.

    Raises:
        NotReconciledError: No reconciliation has covered the time since the backup.
        AudienceLostError: Its audience was still being written down.
    """
    found = await queries.lock_restored(uow.session, campaign_id=campaign_id, reason=RESTORED)
    if found is None:
        return
    if not found.is_whole:
        raise AudienceLostError(
            "When the backup was made, the audience of this campaign was still being written down; "
            "cancel it, and start a clone with previously_contacted set to skip or review."
        )
    made_at = datetime.fromisoformat(found.evidence["backup_made_at"])
    restored_at = datetime.fromisoformat(found.evidence["restored_at"])
    if not await reconciliation.covers(uow, since=made_at, until=restored_at):
        raise NotReconciledError(
            "The reconciliation that finds what was sent since the backup has not ended; "
            "GET /v1/reconciliation-runs shows how far it is. Resume afterwards. If it failed, "
            "POST /v1/reconciliation-runs asks for another, with since "
            f"{found.evidence['backup_made_at']}."
        )
    await queries.set_texted_aside(uow.session, campaign_id=campaign_id, since=made_at, now=now)
