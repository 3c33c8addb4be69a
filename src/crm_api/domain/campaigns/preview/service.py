"""Show the messages that a campaign would send, without sending them.

The audience is selected in the same way as when a campaign starts. The messages are rendered in the
same way as when they are sent.
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
from crm_api.domain.campaigns.campaign_detail import CampaignDetail, read_campaign, read_line
from crm_api.domain.campaigns.drafts import content, identification
from crm_api.domain.campaigns.drafts.references import check_content, copy_template_bodies
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
"""The maximum number of people whose messages one preview renders. This takes a few seconds."""
_NOT_STORED = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class PreviewSubject:
    """A stored campaign or a draft in a request, with everything that its messages depend on."""

    campaign_id: UUID
    audience: AudienceSettings
    footer: str | None
    variants: Sequence[Variant | CampaignVariant]
    line: Line

    @classmethod
    def of(cls, detail: CampaignDetail) -> "PreviewSubject":
        """Collect from a stored campaign the data that a preview of its messages needs."""
        return cls(
            campaign_id=detail.campaign.id,
            audience=AudienceSettings.of(detail.campaign),
            footer=detail.campaign.opt_out_footer,
            variants=detail.variants,
            line=detail.line,
        )

    def sums(self, *, business: Business, sample_size: int) -> MessageSums:
        """Return a new object that renders and counts the messages of this campaign.

        Args:
            business: The business details that a message may name.
            sample_size: The number of rendered messages that the object keeps as examples.
        """
        bodies = [variant.body for variant in self.variants]
        return MessageSums(
            MessageComposer.of_bodies(bodies, footer=self.footer, business=business),
            self.line,
            names=[variant.name for variant in self.variants],
            bodies=bodies,
            footer=self.footer,
            sample_size=sample_size,
        )


async def preview_draft(
    uow: UnitOfWork, body: DraftPreview, *, business: Business, now: datetime
) -> CampaignPreview:
    """Return the messages that a campaign would send, without storing the campaign.

    The preview shows the correct share of each variant. But the id of the campaign decides which
    variant a contact gets, and a draft that is not stored has no id yet. So a contact may get
    another variant when the campaign is stored.

    Raises:
        InvalidCampaignError: The content has faults, or a contact in ``contact_ids`` is not in the
            audience.
    """
    await copy_template_bodies(uow, body)
    columns = content.columns_of_request(body, only_given=False)
    passed = content.find_date_faults(columns, now=now)
    await check_content(uow, columns, body.variants, audience=body.audience, found=passed)

    subject = PreviewSubject(
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
    """Return the messages that a stored campaign would send if it were started now.

    Args:
        campaign_id: A campaign in any status.
        most: The maximum number of people whose messages are rendered.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: A contact in ``contact_ids`` is not in the audience.
    """
    detail = await read_campaign(uow, campaign_id=campaign_id)
    subject = PreviewSubject.of(detail)
    return await _preview(uow, subject, request, business=business, most=most, now=now)


async def _preview(
    uow: UnitOfWork,
    subject: PreviewSubject,
    request: PreviewRequest,
    *,
    business: Business,
    most: int = MOST_PEOPLE,
    now: datetime,
) -> CampaignPreview:
    sample_size = 0 if request.contact_ids else request.limit
    sums = subject.sums(business=business, sample_size=sample_size)
    chosen = await _render_chosen(uow, subject, request.contact_ids, sums, now=now)
    verdicts = await render_audience(uow, subject, sums, most=most, now=now)
    return CampaignPreview(
        samples=chosen or sums.samples,
        variants=sums.variants(),
        encoding=sums.encoding,
        segments=sums.segments,
        cost=cost_of(sums.segments),
        forcing_characters=sums.forcing_characters(),
        missing_values=sums.missing_values(),
        recipients=count_recipients(verdicts, sums.failures),
        warnings=_warnings(subject, business),
        texts_rendered=sums.texts,
        is_partial=sums.verdicts.total() < sum(verdicts.values()),
    )


async def _render_chosen(
    uow: UnitOfWork,
    subject: PreviewSubject,
    contact_ids: Sequence[UUID] | None,
    sums: MessageSums,
    *,
    now: datetime,
) -> list[SampleText]:
    """Return the messages to the contacts in ``contact_ids``, in the order of the request.

    The result is empty if the request has no ``contact_ids``.

    Raises:
        InvalidCampaignError: A contact in ``contact_ids`` is not in the audience.
    """
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


async def render_audience(
    uow: UnitOfWork,
    subject: PreviewSubject,
    sums: MessageSums,
    *,
    most: int = MOST_PEOPLE,
    now: datetime,
) -> dict[str, int]:
    """Add the messages of the first ``most`` people of the audience to ``sums``.

    Returns:
        The number of people in the whole audience, by verdict. The verdict on a person is the
        status or the skip reason that the person would get if the campaign were started now.
    """
    async with aclosing(_read(uow, subject, chosen=None, most=most, now=now)) as batches:
        async for batch in batches:
            # The messages are rendered in a thread, so that the event loop can process other
            # requests in the meantime.
            await asyncio.to_thread(sums.add, batch)
    if sums.verdicts.total() < most:
        return dict(sums.verdicts)
    return await count_audience(uow.session, subject.audience, now=now)


def _read(
    uow: UnitOfWork,
    subject: PreviewSubject,
    *,
    chosen: Sequence[UUID] | None,
    most: int,
    now: datetime,
) -> AsyncGenerator[list[AudiencePerson]]:
    return stream_audience(
        uow.session,
        subject.audience,
        campaign_id=subject.campaign_id,
        variants=subject.variants,
        chosen=chosen,
        limit=most,
        now=now,
    )


def count_recipients(
    verdicts: dict[str, int], failures: Counter[tuple[str, str]]
) -> PreviewRecipients:
    """Return how many people of an audience would get a message, and how many would not.

    Args:
        verdicts: The number of people by verdict. The verdict on a person is the status or the skip
            reason that the person would get if the campaign were started now.
        failures: The number of people whose message cannot be rendered, by verdict and error code.
    """
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


def _warnings(subject: PreviewSubject, business: Business) -> list[PreviewWarning]:
    return [
        PreviewWarning(code=found.part.value, variant=found.variant, detail=found.detail)
        for found in identification.find_identification_faults(
            subject.variants, footer=subject.footer, business=business, line=subject.line
        )
    ]
