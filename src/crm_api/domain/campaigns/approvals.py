"""Approve a campaign, and refuse to start a campaign that needs an approval and has none.

If the setting ``require_approval`` is on, a campaign can start only in one of these cases:

- After its last change, the campaign was approved by someone who neither wrote nor changed it.
- Each of its message bodies is an approved version of a template.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from sqlalchemy import select, tuple_, update

from crm_api.domain.campaigns.campaign_detail import CampaignDetail, load_detail, lock_campaign
from crm_api.domain.campaigns.errors import (
    ApprovalNeededError,
    CampaignNotEditableError,
    OwnApprovalError,
)
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.templates.models import TemplateStatus, TemplateVersion
from crm_api.domain.campaigns.templates.schemas import Note
from crm_api.domain.campaigns.templates.versions import Author
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import BlankIsNull
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.messaging.company.service import is_approval_required
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork


class CampaignApproval(RequestModel):
    """An approval of a campaign.

    Attributes:
        note: A note for the audit log; null if there is no note.
    """

    model_config = example(note="Checked with the owner.")

    note: Annotated[Note | None, BlankIsNull] = None


async def approve_campaign(
    uow: UnitOfWork, *, campaign_id: UUID, by: Author, note: str | None, now: datetime
) -> CampaignDetail:
    """Approve a draft as it is now. A later change of the draft removes the approval.

    If the draft is already approved, nothing changes.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        OwnApprovalError: The caller wrote the campaign, or changed it.
        CampaignNotEditableError: The campaign is not a draft.
    """
    campaign = await lock_campaign(uow, campaign_id)
    if by.id in campaign.author_ids:
        raise OwnApprovalError("campaign")
    if campaign.status != CampaignStatus.DRAFT:
        raise CampaignNotEditableError(
            f"The campaign is {campaign.status}. Only a draft can be approved."
        )
    if campaign.approved_at is None:
        await uow.session.execute(
            update(Campaign)
            .where(Campaign.id == campaign_id)
            .values(approved_at=now, approved_by=by.name, updated_at=now)
        )
        await note_decision(
            uow,
            actor=by.name,
            action="approve_campaign",
            subject=str(campaign_id),
            detail={} if note is None else {"note": note},
            now=now,
        )
        campaign = await lock_campaign(uow, campaign_id)
    return await load_detail(uow, campaign)


async def require_approval(uow: UnitOfWork, detail: CampaignDetail) -> None:
    """Raise an error if the campaign needs an approval to start, and has none.

    Raises:
        ApprovalNeededError: All of these conditions are true:

            - The setting ``require_approval`` is on.
            - The campaign was not approved after its last change.
            - At least one message body is not an approved version of a template.
    """
    if detail.campaign.approved_at is not None or not await is_approval_required(uow):
        return
    texts = dict(_texts(detail))
    versions = {source for source in texts.values() if source is not None}
    found = await uow.session.execute(
        select(TemplateVersion.template_id, TemplateVersion.version).where(
            tuple_(TemplateVersion.template_id, TemplateVersion.version).in_(versions),
            TemplateVersion.status == TemplateStatus.APPROVED,
        )
    )
    approved = {(row.template_id, row.version) for row in found}
    missing = [name for name, source in texts.items() if source not in approved]
    if missing:
        raise ApprovalNeededError(detail.campaign.id, texts=missing)


def _texts(detail: CampaignDetail) -> Iterator[tuple[str, tuple[UUID, int] | None]]:
    """Yield the name (such as "follow-up 1") and the template version of each message body.

    The template version is the id of the template from which the body was copied, and the version
    number. It is None if the body is not a version of a template.
    """
    for variant in detail.variants:
        source = None
        if variant.template_id is not None and variant.template_version is not None:
            source = (variant.template_id, variant.template_version)
        yield f"the variant “{variant.name}”", source
    for position, follow_up in enumerate(detail.campaign.follow_ups, start=1):
        source = None
        if follow_up.get("template_version") is not None:
            source = (UUID(follow_up["template_id"]), follow_up["template_version"])
        yield f"follow-up {position}", source
