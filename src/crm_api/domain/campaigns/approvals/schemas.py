"""Request model of the approval of a campaign."""

from typing import Annotated

from crm_api.domain.campaigns.templates.schemas import Note
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import BlankIsNull
from crm_api.domain.kit.schemas import RequestModel


class CampaignApproval(RequestModel):
    """An approval of a campaign.

    Attributes:
        note: A note for the audit log; null for none.
    """

    model_config = example(note="Checked with the owner.")

    note: Annotated[Note | None, BlankIsNull] = None
