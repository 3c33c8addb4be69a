"""What a campaign would send: the claim's own texts for the audience that a start would write."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import (
    content,
    drafts,
    identification,
    preview_queries,
    queries,
    saved_texts,
)
from crm_api.domain.campaigns.errors import CampaignNotFoundError, InvalidCampaignError
from crm_api.domain.campaigns.models import CampaignVariant
from crm_api.domain.campaigns.preview_answers import (
    CampaignPreview,
    PreviewRecipients,
    PreviewWarning,
    SampleText,
)
from crm_api.domain.campaigns.schemas import DraftPreview, PreviewRequest, Variant
from crm_api.domain.campaigns.tally import TO_TEXT, Tally, cost_of
from crm_api.domain.campaigns.wording import Business, composer
from crm_api.domain.errors import FieldProblem
from crm_api.domain.lines.models import Line

MOST_PEOPLE = 100_000
"""People for whom texts are made in one preview, in a few seconds; of more, for the first."""
_NOT_STORED = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A campaign, stored or not, as far as its texts go."""

    campaign_id: UUID
    audience: dict[str, Any]
    previously_contacted: str
    skip_landlines: bool
    footer: str | None
    variants: Sequence[Variant | CampaignVariant]
    line: Line


async def of_draft(
    uow: UnitOfWork, body: DraftPreview, *, business: Business, now: datetime
) -> CampaignPreview:
    """Show what a campaign would send that is not stored.

    Which variant somebody gets is settled only when the campaign is stored; the shares are right.

    Raises:
        InvalidCampaignError: It could not be stored, or a chosen contact is not in its audience.
    """
    await saved_texts.fill_in(uow, body)
    columns = content.columns_of(body, only_given=False)
    passed = content.date_faults(columns, now=now)
    await drafts.check(uow, columns, body.variants, audience=body.audience, found=passed)
    lines = await queries.list_lines(uow.session, line_ids=[body.line_id])
    subject = _Subject(
        campaign_id=_NOT_STORED,
        audience=columns["audience"],
        previously_contacted=columns["previously_contacted"],
        skip_landlines=columns["skip_landlines"],
        footer=columns["opt_out_footer"],
        variants=body.variants,
        line=lines[0],
    )
    return await _preview(uow, subject, body, business=business, now=now)


async def of_campaign(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    request: PreviewRequest,
    business: Business,
    most: int = MOST_PEOPLE,
    now: datetime,
) -> CampaignPreview:
    """Show what a stored campaign would send, were it started now.

    Args:
        most: Of a larger audience texts are made for the first so many people.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidCampaignError: A chosen contact is not in its audience.
    """
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    subject = _Subject(
        campaign_id=campaign_id,
        audience=campaign.audience,
        previously_contacted=campaign.previously_contacted,
        skip_landlines=campaign.skip_landlines,
        footer=campaign.opt_out_footer,
        variants=await queries.list_variants(uow.session, campaign_ids=[campaign_id]),
        line=(await queries.list_lines(uow.session, line_ids=[campaign.line_id]))[0],
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
    tally = Tally(
        composer(bodies, footer=subject.footer, business=business),
        cast("Row[Any]", subject.line),
        names=[variant.name for variant in subject.variants],
        bodies=bodies,
        footer=subject.footer,
        sample_size=0 if request.contact_ids else request.limit,
    )
    chosen = await _chosen(uow, subject, request.contact_ids, tally, now=now)
    await _write_all(uow, subject, tally, most=most, now=now)
    verdicts: dict[str, int] = tally.verdicts
    if tally.verdicts.total() >= most:
        verdicts = await preview_queries.count_audience(
            uow.session,
            audience=subject.audience,
            previously_contacted=subject.previously_contacted,
            skip_landlines=subject.skip_landlines,
            now=now,
        )
    return CampaignPreview(
        samples=chosen or tally.samples,
        variants=tally.variants(),
        encoding=tally.encoding,
        segments=tally.segments,
        cost=cost_of(tally.segments),
        forcing_characters=tally.forcing_characters(),
        missing_values=tally.missing_values(),
        recipients=_recipients(verdicts, tally.failures),
        warnings=_warnings(subject, business),
        texts_rendered=tally.texts,
        is_partial=tally.verdicts.total() < sum(verdicts.values()),
    )


async def _chosen(
    uow: UnitOfWork,
    subject: _Subject,
    contact_ids: Sequence[UUID] | None,
    tally: Tally,
    *,
    now: datetime,
) -> list[SampleText]:
    """Write the texts of the people that were asked for, in the order they were asked for."""
    if not contact_ids:
        return []
    found: dict[UUID, SampleText] = {}
    async for batch in _read(uow, subject, chosen=contact_ids, most=len(contact_ids), now=now):
        found |= {person.contact_id: tally.show(person) for person in batch}
    unknown = [at for at, contact_id in enumerate(contact_ids) if contact_id not in found]
    if unknown:
        raise InvalidCampaignError(
            [
                FieldProblem(
                    pointer=f"/contact_ids/{position}",
                    code="unknown_contact",
                    detail="This contact is not in the audience of the campaign.",
                )
                for position in unknown
            ]
        )
    return [found[contact_id] for contact_id in dict.fromkeys(contact_ids)]


async def _write_all(
    uow: UnitOfWork, subject: _Subject, tally: Tally, *, most: int, now: datetime
) -> None:
    async with aclosing(_read(uow, subject, chosen=None, most=most, now=now)) as batches:
        async for batch in batches:
            # In a thread, so that other requests are answered meanwhile.
            await asyncio.to_thread(tally.add, batch)


def _read(
    uow: UnitOfWork,
    subject: _Subject,
    *,
    chosen: Sequence[UUID] | None,
    most: int,
    now: datetime,
) -> AsyncGenerator[Sequence[Row[Any]]]:
    return preview_queries.stream_audience(
        uow.session,
        audience=subject.audience,
        previously_contacted=subject.previously_contacted,
        skip_landlines=subject.skip_landlines,
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
            if verdict not in {*TO_TEXT, "held"}
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
        PreviewWarning(code=found.lack.value, variant=found.variant, detail=found.detail)
        for found in identification.find_lacks(
            subject.variants, footer=subject.footer, business=business, line=subject.line
        )
    ]
