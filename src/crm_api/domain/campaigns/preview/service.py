"""Show the messages that a campaign would send, without sending them.

The audience is selected as at a start, and messages are rendered as when they are sent.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crm_api.domain.campaigns.audience.reading import (
    AudiencePerson,
    count_audience,
    stream_audience,
)
from crm_api.domain.campaigns.audience.selection import AudienceSettings
from crm_api.domain.campaigns.campaign_detail import read_campaign, read_line
from crm_api.domain.campaigns.drafts import content, identification
from crm_api.domain.campaigns.drafts.content_checks import check_content, copy_template_bodies
from crm_api.domain.campaigns.errors import InvalidCampaignError
from crm_api.domain.campaigns.models import CampaignVariant
from crm_api.domain.campaigns.preview.message_sums import GETS_MESSAGE, MessageSums, cost_of
from crm_api.domain.campaigns.preview.schemas import (
    CampaignPreview,
    DraftPreview,
    PreviewRecipients,
    PreviewRequest,
    PreviewWarning,
    SampleText,
)
from crm_api.domain.campaigns.schemas import Variant
from crm_api.domain.campaigns.templates.message_composer import MessageComposer
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork

MOST_PEOPLE = 100_000
"""The maximum number of people whose messages one preview renders; that takes a few seconds."""
_NOT_STORED = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A stored campaign or a draft in a request, with everything that its messages depend on."""

    campaign_id: UUID
    audience: AudienceSettings
    footer: str | None
    variants: Sequence[Variant | CampaignVariant]
    line: Line


async def preview_draft(
    uow: UnitOfWork, body: DraftPreview, *, business: Business, now: datetime
) -> CampaignPreview:
    """Preview a campaign that is not stored.

    The shares of the variants are correct. But a contact may get another variant when the campaign
    is stored and started: the variant of a contact depends on the id of the campaign.

    Raises:
        InvalidCampaignError: The content has faults, or a contact in ``contact_ids`` is not in the
            audience.
    """
    await copy_template_bodies(uow, body)
    columns = content.columns_of_request(body, only_given=False)
    passed = content.find_date_faults(columns, now=now)
    await check_content(uow, columns, body.variants, audience=body.audience, found=passed)

    subject = _Subject(
        campaign_id=_NOT_STORED,
        audience=AudienceSettings(
            audience=columns["audience"],
            previously_contacted=columns["previously_contacted"],
            skip_landlines=columns["skip_landlines"],
        ),
        footer=columns["opt_out_footer"],
        variants=body.variants,
        line=await read_line(uow.session, line_id=body.line_id),
    )
    return await _preview(uow, subject, body, business=business, now=now)


async def preview_campaign(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    request: PreviewRequest,
    business: Business,
    most: int = MOST_PEOPLE,
    now: datetime,
) -> CampaignPreview:
    """Preview a stored campaign, as if it were started now.

    Args:
        uow: The unit of work.
        campaign_id: A campaign in any status.
        request: The messages that the preview shows.
        business: The business details that a message may name.
        most: The maximum number of people whose messages are rendered.
        now: The present instant.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: A contact in ``contact_ids`` is not in the audience.
    """
    detail = await read_campaign(uow, campaign_id=campaign_id)
    subject = _Subject(
        campaign_id=campaign_id,
        audience=AudienceSettings.of(detail.campaign),
        footer=detail.campaign.opt_out_footer,
        variants=detail.variants,
        line=detail.line,
    )
    return await _preview(uow, subject, request, business=business, most=most, now=now)


async def _preview(
    uow: UnitOfWork,
    subject: _Subject,
    request: PreviewRequest,
    *,
    business: Business,
    most: int = MOST_PEOPLE,
    now: datetime,
) -> CampaignPreview:
    bodies = [variant.body for variant in subject.variants]
    sums = MessageSums(
        MessageComposer.of_bodies(bodies, footer=subject.footer, business=business),
        subject.line,
        names=[variant.name for variant in subject.variants],
        bodies=bodies,
        footer=subject.footer,
        sample_size=0 if request.contact_ids else request.limit,
    )
    chosen = await _render_chosen(uow, subject, request.contact_ids, sums, now=now)
    await _render_all(uow, subject, sums, most=most, now=now)
    verdicts: dict[str, int] = sums.verdicts
    if sums.verdicts.total() >= most:
        verdicts = await count_audience(uow.session, subject.audience, now=now)
    return CampaignPreview(
        samples=chosen or sums.samples,
        variants=sums.variants(),
        encoding=sums.encoding,
        segments=sums.segments,
        cost=cost_of(sums.segments),
        forcing_characters=sums.forcing_characters(),
        missing_values=sums.missing_values(),
        recipients=_recipients(verdicts, sums.failures),
        warnings=_warnings(subject, business),
        texts_rendered=sums.texts,
        is_partial=sums.verdicts.total() < sum(verdicts.values()),
    )


async def _render_chosen(
    uow: UnitOfWork,
    subject: _Subject,
    contact_ids: Sequence[UUID] | None,
    sums: MessageSums,
    *,
    now: datetime,
) -> list[SampleText]:
    """Return the messages to the contacts in ``contact_ids``, in the order of the request."""
    if not contact_ids:
        return []
    found: dict[UUID, SampleText] = {}
    async for batch in _read(uow, subject, chosen=contact_ids, most=len(contact_ids), now=now):
        found |= {person.contact_id: sums.show(person) for person in batch}
    unknown = [at for at, contact_id in enumerate(contact_ids) if contact_id not in found]
    if unknown:
        raise InvalidCampaignError(
            [
                FieldProblem(
                    pointer=f"/contact_ids/{position}",
                    code="unknown_contact",
                    detail="This contact is not in the audience of the campaign. Remove its id.",
                )
                for position in unknown
            ]
        )
    return [found[contact_id] for contact_id in dict.fromkeys(contact_ids)]


async def _render_all(
    uow: UnitOfWork, subject: _Subject, sums: MessageSums, *, most: int, now: datetime
) -> None:
    async with aclosing(_read(uow, subject, chosen=None, most=most, now=now)) as batches:
        async for batch in batches:
            # This runs in a thread, so that the event loop can serve other requests meanwhile.
            await asyncio.to_thread(sums.add, batch)


def _read(
    uow: UnitOfWork,
    subject: _Subject,
    *,
    chosen: Sequence[UUID] | None,
    most: int,
    now: datetime,
) -> AsyncGenerator[list[AudiencePerson]]:
    return stream_audience(
        uow.session,
        subject.audience,
        campaign_id=subject.campaign_id,
        weights=[variant.weight for variant in subject.variants],
        chosen=chosen,
        limit=most,
        now=now,
    )


def _recipients(verdicts: dict[str, int], failures: Counter[tuple[str, str]]) -> PreviewRecipients:
    skipped: Counter[str] = Counter(
        {
            verdict: people
            for verdict, people in verdicts.items()
            if verdict not in {*GETS_MESSAGE, "held"}
        }
    )
    left = Counter(verdicts)
    for (verdict, reason), people in failures.items():
        skipped[reason] += people
        left[verdict] -= people
    return PreviewRecipients(
        total=sum(verdicts.values()),
        would_be_texted=left["pending"],
        review=left["review"],
        held=left["held"],
        skipped=dict(skipped),
    )


def _warnings(subject: _Subject, business: Business) -> list[PreviewWarning]:
    return [
        PreviewWarning(code=found.part.value, variant=found.variant, detail=found.detail)
        for found in identification.find_identification_faults(
            subject.variants, footer=subject.footer, business=business, line=subject.line
        )
    ]
