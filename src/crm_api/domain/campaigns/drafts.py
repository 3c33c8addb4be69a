"""Drafts: written, changed, removed; everything is checked before it is stored."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import content, queries, saved_texts, state
from crm_api.domain.campaigns.content import Columns
from crm_api.domain.campaigns.errors import CampaignNotEditableError, CampaignNotFoundError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.schemas import (
    Audience,
    CampaignCreate,
    CampaignUpdate,
    Exclusion,
    Variant,
)
from crm_api.domain.errors import FieldProblem
from crm_api.domain.segments import service as segments
from crm_api.ids import new_id

_SHOWN_FAULTS = 20
"""Unknown ids of a kind named in an answer; a list of ten thousand helps nobody."""


async def create(uow: UnitOfWork, body: CampaignCreate, *, now: datetime) -> Campaign:
    """Store a draft.

    Raises:
        InvalidCampaignError: The content has faults, each named by its pointer.
    """
    await saved_texts.fill_in(uow, body)
    columns = content.columns_of(body, only_given=False)
    passed = content.date_faults(columns, now=now)
    await check(uow, columns, body.variants, audience=body.audience, found=passed)
    campaign = await queries.insert_campaign(
        uow.session,
        values={**columns, "id": new_id(), "created_at": now, "updated_at": now},
    )
    await store_variants(uow, campaign.id, body.variants)
    return campaign


async def update(
    uow: UnitOfWork, *, campaign_id: UUID, body: CampaignUpdate, now: datetime
) -> Campaign:
    """Change a draft; what the request leaves out stays.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        CampaignNotEditableError: It is no draft any more.
        InvalidCampaignError: What would result has faults.
    """
    campaign = await queries.lock_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    _require_draft(campaign)
    await saved_texts.fill_in(uow, body)
    given = content.columns_of(body, only_given=True)
    present = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    variants = body.variants or [
        Variant.model_validate(row, from_attributes=True) for row in present
    ]
    columns = {**content.present_columns(campaign), **given}
    # Only the dates that are given: another change of an old draft must not fail for them.
    passed = content.date_faults(given, now=now)
    await check(uow, columns, variants, audience=body.audience, found=passed)
    changed = await queries.change_draft(
        uow.session, campaign_id=campaign_id, values={**given, "updated_at": now}
    )
    if changed is None:  # pragma: no cover - the row is locked above
        raise CampaignNotFoundError(campaign_id)
    if body.variants is not None:
        await store_variants(uow, campaign_id, body.variants)
    return changed


async def remove(uow: UnitOfWork, *, campaign_id: UUID) -> None:
    """Remove a draft; a campaign that was started is the record of what was sent.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        CampaignNotEditableError: It is no draft any more.
    """
    if await queries.delete_draft(uow.session, campaign_id=campaign_id):
        return
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    _require_draft(campaign)


def _require_draft(campaign: Campaign) -> None:
    if not state.is_editable(campaign.status):
        raise CampaignNotEditableError(
            f"The campaign is {campaign.status}; only a draft can be changed or removed."
        )


async def store_variants(uow: UnitOfWork, campaign_id: UUID, variants: list[Variant]) -> None:
    """Store the wordings of a campaign in place of those it has."""
    values = [
        {
            "id": new_id(),
            "campaign_id": campaign_id,
            "position": position,
            **variant.model_dump(),
        }
        for position, variant in enumerate(variants)
    ]
    await queries.replace_variants(uow.session, campaign_id=campaign_id, values=values)


async def check(
    uow: UnitOfWork,
    columns: Columns,
    variants: list[Variant],
    *,
    audience: Audience | None,
    found: Sequence[FieldProblem] = (),
) -> None:
    """Refuse content that has faults.

    Args:
        columns: As they would be stored.
        audience: None when it is the stored one, which was checked when it was saved.
        found: Faults that are known already.

    Raises:
        InvalidCampaignError: There is a fault; each is named by its pointer.
    """
    problems = [*content.faults(columns, variants), *found]
    if not await queries.line_exists(uow.session, line_id=columns["line_id"]):
        problems.append(
            FieldProblem(pointer="/line_id", code="unknown_line", detail="There is no such line.")
        )
    if audience is not None:
        problems += await unknown_sources(uow, columns["audience"])
        problems += await _unknown_contacts(uow, audience)
    content.refuse(problems)


async def unknown_sources(uow: UnitOfWork, audience: Columns) -> list[FieldProblem]:
    """Find the lists, segments and campaigns that a stored audience names and that are no more.

    The segments that are there stay as they are until the end of the transaction.
    """
    excluded = audience.get("exclude", {})
    lists = {
        **_named("/audience/list_id", audience.get("list_id")),
        **_named("/audience/exclude/list_id", excluded.get("list_id")),
        **_numbered("/audience/exclude/list_ids", excluded.get("list_ids")),
    }
    campaigns = _numbered("/audience/exclude/campaign_ids", excluded.get("campaign_ids"))
    session = uow.session
    problems = await segments.faults_of(
        uow,
        {
            **_named("/audience/segment_id", audience.get("segment_id")),
            **_numbered("/audience/exclude/segment_ids", excluded.get("segment_ids")),
        },
    )
    if lists:
        known = await queries.find_known_lists(session, list_ids=set(lists.values()))
        problems += _unknown(lists, known, noun="list")
    if campaigns:
        known = await queries.find_known_campaigns(session, campaign_ids=set(campaigns.values()))
        problems += _unknown(campaigns, known, noun="campaign")
    return problems


async def _unknown_contacts(uow: UnitOfWork, audience: Audience) -> list[FieldProblem]:
    excluded = audience.exclude or Exclusion()
    contacts = {
        **_numbered("/audience/contact_ids", audience.contact_ids),
        **_numbered("/audience/exclude/contact_ids", excluded.contact_ids),
    }
    if not contacts:
        return []
    known = await queries.find_known_contacts(uow.session, contact_ids=list({*contacts.values()}))
    return _unknown(contacts, known, noun="contact")


def _named(pointer: str, value: str | None) -> dict[str, UUID]:
    return {} if value is None else {pointer: UUID(value)}


def _numbered(pointer: str, ids: Sequence[UUID | str] | None) -> dict[str, UUID]:
    return {f"{pointer}/{position}": UUID(str(one)) for position, one in enumerate(ids or [])}


def _unknown(ids: Mapping[str, UUID], known: Container[UUID], *, noun: str) -> list[FieldProblem]:
    unknown = [pointer for pointer, one in ids.items() if one not in known]
    return [
        FieldProblem(pointer=pointer, code=f"unknown_{noun}", detail=f"There is no such {noun}.")
        for pointer in unknown[:_SHOWN_FAULTS]
    ]
