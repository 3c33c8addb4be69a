"""Store a person's decision whether the message to a recipient was sent.

Such a decision is needed for a parked attempt: the service could not find out whether the message
was sent. To settle the attempt means to store the decision.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.recipients.listing import ListedRecipient, read_recipient
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.messaging.sends import settle
from crm_api.platform.database import UnitOfWork


async def settle_recipient(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    outcome: Literal["sent", "resend", "failed"],
    actor: str,
    now: datetime,
) -> ListedRecipient:
    """Store a person's decision about the parked attempt of a recipient.

    An attempt is parked if a person must decide whether its message was sent.

    Args:
        uow: The unit of work.
        campaign_id: The campaign.
        contact_id: The contact that is the recipient.
        outcome: ``sent`` or ``failed`` ends the attempt; ``resend`` sends the message again.
        actor: The name of the person or API key that decided, for the audit log.
        now: The present instant.

    Returns:
        The changed recipient.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        RecipientNotFoundError: The contact is not a recipient of the campaign.
        NotParkedError: The recipient has no parked attempt.
    """
    await _require_recipient(uow, campaign_id, contact_id)
    await settle.settle_recipient(
        uow, campaign_id=campaign_id, contact_id=contact_id, outcome=outcome, actor=actor, now=now
    )
    return await _require_recipient(uow, campaign_id, contact_id)


async def _require_recipient(
    uow: UnitOfWork, campaign_id: UUID, contact_id: UUID
) -> ListedRecipient:
    recipient = await read_recipient(uow, campaign_id=campaign_id, contact_id=contact_id)
    if recipient is None:
        raise RecipientNotFoundError
    return recipient


class SettleRequest(RequestModel):
    """A person's decision about a message that was perhaps sent.

    Attributes:
        outcome: ``sent``: the message was sent. ``failed``: the message was not sent, and shall not
            be sent again. ``resend``: the message shall be sent again.
    """

    model_config = example(outcome="resend")

    outcome: Literal["sent", "resend", "failed"]
