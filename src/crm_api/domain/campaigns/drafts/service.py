"""Create, change, copy and delete drafts. All content is checked before it is stored."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.campaigns.campaign_detail import (
    CampaignDetail,
    list_variants,
    load_detail,
    lock_campaign,
    require_campaign,
)
from crm_api.domain.campaigns.drafts import content
from crm_api.domain.campaigns.drafts.references import check_content, copy_template_bodies
from crm_api.domain.campaigns.errors import CampaignNotEditableError
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.recurrence import next_occurrence
from crm_api.domain.campaigns.schemas import LONGEST_NAME, CampaignCreate, CampaignUpdate, Variant
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

_COPY_SUFFIX = " (copy)"
_LABELS = {"name", "archived", "recurrence"}
"""Fields of a campaign that a request can change in every status of the campaign."""
_DATES = ("start_at", "end_at")


async def create_campaign(
    uow: UnitOfWork, body: CampaignCreate, *, author_id: str | None = None, now: datetime
) -> CampaignDetail:
    """Store a new campaign as a draft.

    ``author_id`` is the id of the API key or user who wrote the campaign; None if it is not known.

    Raises:
        InvalidCampaignError: The content has faults. The error lists all of them.
    """
    await copy_template_bodies(uow, body)
    columns = content.columns_of_request(body, only_given=False)
    passed = content.find_date_faults(columns, now=now)
    await check_content(uow, columns, body.variants, audience=body.audience, found=passed)
    columns["author_ids"] = [] if author_id is None else [author_id]
    columns["recurrence"] = body.recurrence and body.recurrence.model_dump()
    detail = await _store_draft(uow, columns, body.variants, now=now)
    await _plan_next_occurrence(uow, detail.campaign, is_given=True, now=now)
    return detail


async def _store_draft(
    uow: UnitOfWork, columns: content.Columns, variants: list[Variant], *, now: datetime
) -> CampaignDetail:
    values = {**columns, "id": new_id(), "created_at": now, "updated_at": now}
    statement = insert(Campaign).values(values).returning(Campaign)
    campaign = (await uow.session.scalars(statement)).one()
    await store_variants(uow, campaign.id, variants)
    return await load_detail(uow, campaign)


async def update_campaign(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    body: CampaignUpdate,
    author_id: str | None = None,
    now: datetime,
) -> CampaignDetail:
    """Change a campaign. Fields that the request leaves out do not change.

    ``name``, ``recurrence`` and ``archived`` can change in every status. All other fields can
    change only in a draft. A changed draft loses its approval, unless only ``archived`` changes.
    The API key or user with the id ``author_id`` may not approve the changed draft.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        CampaignNotEditableError: The request has a field that can change only in a draft, and the
            campaign is not a draft.
        InvalidCampaignError: The changed content would have faults. The error lists all of them.
    """
    campaign = await lock_campaign(uow, campaign_id)
    labels = _labels(body, campaign, now=now) | _as_changed(campaign, body, author_id)
    if body.model_fields_set <= _LABELS:
        changed = await _change(uow, campaign_id, labels, now=now)
        await _plan_next_occurrence(
            uow, changed, is_given="recurrence" in body.model_fields_set, now=now
        )
        return await load_detail(uow, changed)
    _require_draft(campaign)
    await copy_template_bodies(uow, body)
    given = content.columns_of_request(body, only_given=True)
    variants = body.variants or await read_variants(uow, campaign_id)
    columns = {**content.columns_of_campaign(campaign), **given}
    # Only the dates in the request are checked. So other fields of an old draft can still be
    # changed if a stored date of the draft is in the past.
    passed = content.find_date_faults(given, now=now)
    await check_content(uow, columns, variants, audience=body.audience, found=passed)
    changed = await _change(uow, campaign_id, {**given, **labels}, now=now)
    await _plan_next_occurrence(
        uow, changed, is_given="recurrence" in body.model_fields_set, now=now
    )
    if body.variants is not None:
        await store_variants(uow, campaign_id, body.variants)
    return await load_detail(uow, changed)


def _labels(body: CampaignUpdate, campaign: Campaign, *, now: datetime) -> content.Columns:
    """Return the columns for ``name``, ``archived`` and ``recurrence``, with their new values.

    These fields can change in every status. A field that the request leaves out has no column in
    the result.

    Raises:
        InvalidCampaignError: The request sets a recurrence, but the campaign is an occurrence of
            another repeated campaign.
    """
    labels: content.Columns = {}
    if body.name is not None:
        labels["name"] = body.name
    if body.archived is not None:
        labels["archived_at"] = (campaign.archived_at or now) if body.archived else None
    if "recurrence" in body.model_fields_set:
        if body.recurrence is not None and campaign.series_id is not None:
            detail = (
                "This campaign is an occurrence of a series, so it cannot be repeated itself. "
                f"Change the campaign {campaign.series_id}, or clone this one."
            )
            content.refuse_faults(
                [FieldProblem(pointer="/recurrence", code="is_occurrence", detail=detail)]
            )
        labels["recurrence"] = body.recurrence and body.recurrence.model_dump()
    return labels


async def _plan_next_occurrence(
    uow: UnitOfWork, campaign: Campaign, *, is_given: bool, now: datetime
) -> None:
    """Store which occurrence of a repeated campaign is drafted next.

    Args:
        campaign: The campaign, as it is stored now.
        is_given: True if the request sets the recurrence.

    Raises:
        InvalidCampaignError: The request sets a recurrence that is not paused, but the campaign
            would not be repeated in the next five years.
    """
    following = next_occurrence(campaign, after=now)
    recurrence = campaign.recurrence
    if following is None and is_given and recurrence is not None and not recurrence["paused"]:
        detail = (
            "After the first occurrence, the rule has no further occurrence in the future. "
            "Occurrences are counted from `start_at` of the campaign. Correct the rule, or leave "
            "the recurrence out."
        )
        content.refuse_faults(
            [FieldProblem(pointer="/recurrence/rrule", code="no_occurrence", detail=detail)]
        )
    if following != campaign.next_occurrence_at:
        campaign.next_occurrence_at = following
        await uow.session.flush()


def _as_changed(campaign: Campaign, body: CampaignUpdate, author_id: str | None) -> content.Columns:
    """Return the columns that every change of a draft sets: approval and authors.

    The approval is removed, and the caller is added to the authors.

    The result is empty if the campaign is not a draft, or if only ``archived`` changes.
    """
    if campaign.status != CampaignStatus.DRAFT or body.model_fields_set <= {"archived"}:
        return {}
    authors = {*campaign.author_ids, *([] if author_id is None else [author_id])}
    return {"author_ids": sorted(authors), "approved_at": None, "approved_by": None}


async def _change(
    uow: UnitOfWork, campaign_id: UUID, values: content.Columns, *, now: datetime
) -> Campaign:
    statement = (
        update(Campaign)
        .where(Campaign.id == campaign_id)
        .values({**values, "updated_at": now})
        .returning(Campaign)
    )
    found = await uow.session.scalars(statement, execution_options={"populate_existing": True})
    return found.one()


async def clone_campaign(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    name: str | None,
    author_id: str | None = None,
    now: datetime,
) -> CampaignDetail:
    """Store a new draft with the content of another campaign (the original).

    The original may have any status. The copy is not approved. Its authors are ``author_id`` and
    all authors of the original. ``start_at`` and ``end_at`` are not copied if they are in the past.

    Args:
        name: None for the name of the original, followed by ``(copy)``.

    Raises:
        CampaignNotFoundError: The original does not exist.
    """
    original = await require_campaign(uow.session, campaign_id=campaign_id)
    columns = content.columns_of_campaign(original)
    for date in _DATES:
        if columns[date] is not None and columns[date] <= now:
            columns[date] = None
    columns["author_ids"] = sorted({*original.author_ids, *filter(None, [author_id])})
    columns["name"] = name or original.name[: LONGEST_NAME - len(_COPY_SUFFIX)] + _COPY_SUFFIX
    return await _store_draft(uow, columns, await read_variants(uow, campaign_id), now=now)


async def delete_campaign(uow: UnitOfWork, *, campaign_id: UUID) -> None:
    """Delete a draft. A started campaign cannot be deleted, because it records what was sent.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        CampaignNotEditableError: The campaign is not a draft.
    """
    statement = (
        delete(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.DRAFT)
        .returning(Campaign.id)
    )
    if await uow.session.scalar(statement) is None:
        _require_draft(await require_campaign(uow.session, campaign_id=campaign_id))


def _require_draft(campaign: Campaign) -> None:
    if campaign.status != CampaignStatus.DRAFT:
        raise CampaignNotEditableError(
            f"The campaign is {campaign.status}. Only a draft can be deleted. If a campaign is not "
            "a draft, only `name`, `archived` and `recurrence` can be changed. Clone the campaign "
            "to get a draft with the same content."
        )


async def read_variants(uow: UnitOfWork, campaign_id: UUID) -> list[Variant]:
    """Return the stored variants of a campaign as request models."""
    rows = await list_variants(uow.session, campaign_ids=[campaign_id])
    # The stored variants are not validated. A stored variant may have a body and a template without
    # a version, but a request may not.
    return [
        Variant.model_construct(**{name: getattr(row, name) for name in Variant.model_fields})
        for row in rows
    ]


async def store_variants(uow: UnitOfWork, campaign_id: UUID, variants: list[Variant]) -> None:
    """Delete the stored variants of a campaign, and store ``variants`` instead."""
    values = [
        {
            "id": new_id(),
            "campaign_id": campaign_id,
            "position": position,
            **variant.model_dump(),
        }
        for position, variant in enumerate(variants)
    ]
    await uow.session.execute(
        delete(CampaignVariant).where(CampaignVariant.campaign_id == campaign_id)
    )
    await uow.session.execute(insert(CampaignVariant).values(values))
