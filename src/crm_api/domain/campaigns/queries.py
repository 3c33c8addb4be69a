"""All SQL of campaigns; the large statements are in ``statements.py``."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CursorResult,
    Row,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import statements
from crm_api.domain.campaigns.models import (
    Campaign,
    CampaignMembership,
    CampaignStatus,
    CampaignVariant,
)
from crm_api.domain.contacts.models import Contact
from crm_api.domain.lines.models import Line
from crm_api.domain.lists.models import ContactList


async def insert_campaign(session: AsyncSession, *, values: dict[str, Any]) -> Campaign:
    """Store a draft."""
    statement = insert(Campaign).values(values).returning(Campaign)
    return (await session.scalars(statement)).one()


async def replace_variants(
    session: AsyncSession, *, campaign_id: UUID, values: list[dict[str, Any]]
) -> None:
    """Put these variants in the place of those a campaign has."""
    await session.execute(delete(CampaignVariant).where(CampaignVariant.campaign_id == campaign_id))
    await session.execute(insert(CampaignVariant).values(values))


async def find_campaign(session: AsyncSession, *, campaign_id: UUID) -> Campaign | None:
    """Fetch a campaign, as the database has it now."""
    statement = select(Campaign).where(Campaign.id == campaign_id)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def lock_campaign(session: AsyncSession, *, campaign_id: UUID) -> Campaign | None:
    """Fetch a campaign and hold its row until the end of the transaction."""
    statement = select(Campaign).where(Campaign.id == campaign_id).with_for_update(key_share=True)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def list_campaigns(
    session: AsyncSession,
    *,
    status: CampaignStatus | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Campaign]:
    """Fetch campaigns, newest first."""
    statement = select(Campaign)
    if status is not None:
        statement = statement.where(Campaign.status == status)
    if after is not None:
        statement = statement.where(tuple_(Campaign.created_at, Campaign.id) < after)
    statement = statement.order_by(Campaign.created_at.desc(), Campaign.id.desc()).limit(limit)
    return (await session.scalars(statement)).all()


async def list_variants(
    session: AsyncSession, *, campaign_ids: Iterable[UUID]
) -> Sequence[CampaignVariant]:
    """Fetch the variants of campaigns in their order."""
    statement = (
        select(CampaignVariant)
        .where(CampaignVariant.campaign_id.in_(list(campaign_ids)))
        .order_by(CampaignVariant.campaign_id, CampaignVariant.position)
    )
    return (await session.scalars(statement)).all()


async def list_lines(session: AsyncSession, *, line_ids: Iterable[UUID]) -> Sequence[Line]:
    """Fetch lines by id."""
    return (await session.scalars(select(Line).where(Line.id.in_(set(line_ids))))).all()


async def line_exists(session: AsyncSession, *, line_id: UUID) -> bool:
    """Tell whether there is such a line."""
    return bool(await session.scalar(select(exists().where(Line.id == line_id))))


async def find_known_lists(session: AsyncSession, *, list_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the ids that are lists."""
    statement = select(ContactList.id).where(ContactList.id.in_(list(list_ids)))
    return set((await session.scalars(statement)).all())


async def find_known_campaigns(session: AsyncSession, *, campaign_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the ids that are campaigns."""
    statement = select(Campaign.id).where(Campaign.id.in_(list(campaign_ids)))
    return set((await session.scalars(statement)).all())


async def find_known_contacts(session: AsyncSession, *, contact_ids: list[UUID]) -> set[UUID]:
    """Return those of the ids that are contacts and not deleted."""
    statement = select(Contact.id).where(
        Contact.id == any_(bindparam("ids", contact_ids, ARRAY(Uuid()))),
        Contact.deleted_at.is_(None),
    )
    return set((await session.scalars(statement)).all())


async def change_draft(
    session: AsyncSession, *, campaign_id: UUID, values: dict[str, Any]
) -> Campaign | None:
    """Change the content of a draft; None when it is none."""
    statement = (
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.DRAFT)
        .values(values)
        .returning(Campaign)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def delete_draft(session: AsyncSession, *, campaign_id: UUID) -> bool:
    """Remove a draft; False when it is none."""
    statement = (
        delete(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.DRAFT)
        .returning(Campaign.id)
    )
    return await session.scalar(statement) is not None


async def move(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    sources: Iterable[CampaignStatus],
    values: dict[str, Any],
) -> Campaign | None:
    """Change the status of a campaign that is in one of these; of two at once one gets None."""
    statement = (
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status.in_(list(sources)))
        .values(values)
        .returning(Campaign)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


def final_total() -> Any:  # noqa: ANN401 - an SQL expression
    """Return how many recipients a campaign has that is written down no further."""
    return func.coalesce(Campaign.recipients_total, Campaign.recipients_written)


def resumed_status(now: datetime) -> Any:  # noqa: ANN401 - an SQL expression
    """Return the status of a resumed campaign: back in line when its start is still ahead."""
    waits = or_(Campaign.recipients_total.is_(None), Campaign.start_at > now)
    return case((waits, CampaignStatus.SCHEDULED), else_=CampaignStatus.RUNNING)


async def list_missed(session: AsyncSession, *, now: datetime) -> Sequence[Row[Any]]:
    """Return the campaigns whose start was missed by longer than they allow."""
    return (await session.execute(statements.MISSED, {"now": now})).all()


async def begin_due(session: AsyncSession, *, now: datetime) -> list[UUID]:
    """Let campaigns run whose start has come and was not missed; their ids."""
    return list((await session.scalars(statements.BEGIN_DUE, {"now": now})).all())


async def end_overdue(session: AsyncSession, *, limit: int, now: datetime) -> bool:
    """Cancel what still waits in running campaigns whose end has come, and in cancelled ones.

    Returns:
        True when ``limit`` was reached and more may wait.
    """
    values = {"limit": limit, "now": now}
    ended = [
        cast("CursorResult[Any]", await session.execute(statement, values)).rowcount
        for statement in (statements.END_OVERDUE, statements.END_CANCELLED)
    ]
    return limit in ended


async def complete_finished(session: AsyncSession, *, now: datetime) -> list[UUID]:
    """Complete running campaigns of which nobody waits any more; their ids."""
    return list((await session.scalars(statements.COMPLETE_FINISHED, {"now": now})).all())


async def count_recipients(
    session: AsyncSession, *, campaign: Campaign, step: int
) -> Sequence[Row[Any]]:
    """Sum up people and answers by status and variant, and parked sends, in one statement."""
    values = {"campaign_id": campaign.id, "line_id": campaign.line_id, "step": step}
    return (await session.execute(statements.COUNT, values)).all()


async def compact_tallies(session: AsyncSession, *, rows: int) -> None:
    """Sum up the counts of campaigns that have more than so many rows of them."""
    if await session.scalar(statements.COMPACT_LOCK):
        await session.execute(statements.COMPACT, {"rows": rows})


async def list_recipients(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    step: int,
    status: str | None,
    variant: int | None,
    after: UUID | None,
    limit: int,
) -> Sequence[CampaignMembership]:
    """Fetch recipients in the order of their contact ids."""
    membership = CampaignMembership
    statement = select(membership).where(
        membership.campaign_id == campaign_id, membership.step == step
    )
    if status is not None:
        statement = statement.where(membership.status == status)
    if variant is not None:
        statement = statement.where(membership.variant == variant)
    if after is not None:
        statement = statement.where(membership.contact_id > after)
    statement = statement.order_by(membership.contact_id).limit(limit)
    return (await session.scalars(statement)).all()


async def find_recipient(
    session: AsyncSession, *, campaign_id: UUID, contact_id: UUID, step: int
) -> CampaignMembership | None:
    """Fetch one recipient, as the database has it now."""
    statement = select(CampaignMembership).where(
        CampaignMembership.campaign_id == campaign_id,
        CampaignMembership.step == step,
        CampaignMembership.contact_id == contact_id,
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def refresh_statistics(session: AsyncSession) -> None:
    """Tell the planner about the rows of a mass change."""
    await session.execute(statements.ANALYZE)
