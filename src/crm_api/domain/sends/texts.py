"""Texts outside campaigns: queued on the timeline, sent by the same ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.activity.models import Activity
from crm_api.domain.sends import report_statements as sql
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.models import SendKind
from crm_api.domain.sends.times import SendTimes
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName


async def queue_text(
    uow: UnitOfWork,
    *,
    line_id: UUID,
    phone: str,
    body: str,
    kind: SendKind,
    contact_id: UUID | None,
    now: datetime,
) -> Activity:
    """Store a text that shall leave as soon as it may, and nudge the sender after the commit.

    It is not refused by the daily limit, but it counts.
    """
    conversation = await uow.session.execute(
        sql.UPSERT_CONVERSATION,
        {
            "id": new_id(),
            "line_id": line_id,
            "phone": phone,
            "contact_id": contact_id,
            "openphone_id": None,
            "at": now,
            "now": now,
        },
    )
    activity = Activity(
        kind="message",
        direction="outgoing",
        origin=kind.value,
        line_id=line_id,
        conversation_id=conversation.scalar_one(),
        contact_id=contact_id,
        phone=phone,
        body=body,
        media=[],
        status="queued",
        rank=0,
        send_after=now,
        occurred_at=now,
        created_at=now,
        updated_at=now,
    )
    uow.session.add(activity)
    await uow.session.flush()
    uow.after_commit(Job(name=JobName.SEND_MESSAGES))
    return activity


async def claim_queued(
    uow: UnitOfWork, *, limit: int, times: SendTimes, now: datetime
) -> list[Claimed]:
    """Claim queued texts; one whose number has an open attempt waits for it.

    The caller commits before it does anything with the result.
    """
    rows: Sequence[Row[Any]] = (
        await uow.session.execute(sql.LOCK_QUEUED, {"limit": limit, "now": now})
    ).all()
    if not rows:
        return []
    token = uuid4()
    attempts = {new_id(): row for row in rows}
    got = await uow.session.execute(
        sql.CLAIM_QUEUED,
        {
            "attempt_ids": list(attempts),
            "activity_ids": [row.id for row in rows],
            "token": token,
            "lease_until": now + times.lease,
            "now": now,
        },
    )
    taken = set(got.scalars())
    return [
        Claimed(
            attempt_id=attempt_id,
            token=token,
            membership_id=None,
            campaign_id=None,
            line_id=row.line_id,
            sender=row.phone_number_id,
            phone=row.phone,
            body=row.body,
        )
        for attempt_id, row in attempts.items()
        if attempt_id in taken
    ]
