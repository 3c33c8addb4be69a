"""Saved texts, copied into the request that names them."""

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import content
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate
from crm_api.domain.errors import FieldProblem
from crm_api.domain.templates import service as templates


async def fill_in(uow: UnitOfWork, body: CampaignCreate | CampaignUpdate) -> None:
    """Write the saved texts that a request names into its wordings, as they are now.

    Raises:
        InvalidCampaignError: There is no such saved text.
    """
    wordings = [
        (f"/{field}/{position}/template_id", wording)
        for field in ("variants", "follow_ups")
        for position, wording in enumerate(getattr(body, field) or [])
        if wording.template_id is not None
    ]
    bodies = await templates.find_bodies(uow, [wording.template_id for _, wording in wordings])
    content.refuse(
        [
            FieldProblem(
                pointer=pointer, code="unknown_template", detail="There is no such template."
            )
            for pointer, wording in wordings
            if wording.template_id not in bodies
        ]
    )
    for _, wording in wordings:
        wording.body = bodies[wording.template_id]
