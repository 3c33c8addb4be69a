"""Queue messages outside campaigns for sending; ``queued_claim.py`` claims them from the queue."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.models.conversations import Activity
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import NumberRule, stopping_rule_of
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

UPSERT_CONVERSATION = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, openphone_id, last_activity_at,
        last_outgoing_at, created_at)
    VALUES (:id, :line_id, :phone, :contact_id, :openphone_id, :at, :outgoing_at, :now)
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at),
        last_outgoing_at = greatest(conversation.last_outgoing_at, excluded.last_outgoing_at),
        contact_id = coalesce(conversation.contact_id, excluded.contact_id),
        openphone_id = coalesce(excluded.openphone_id, conversation.openphone_id)
    RETURNING id
""")


async def queue_message(
    uow: UnitOfWork,
    *,
    line_id: UUID,
    phone: str,
    body: str,
    kind: SendKind,
    contact_id: UUID | None,
    now: datetime,
) -> Activity:
    """Store a message to be sent as soon as possible, and request the job that sends it.

    The line's daily limit does not stop the message, but the message counts towards the limit.
    """
    conversation = await uow.session.execute(
        UPSERT_CONVERSATION,
        {
            "id": new_id(),
            "line_id": line_id,
            "phone": phone,
            "contact_id": contact_id,
            "openphone_id": None,
            "at": now,
            "outgoing_at": None,  # set when the provider accepts the message
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


STOPPING_RULE = text(f"""
    SELECT {stopping_rule_of("CAST(:kind AS text)", phone="CAST(:phone AS text)")}
""")


async def find_stopping_rule(
    uow: UnitOfWork, *, kind: SendKind, phone: str, now: datetime
) -> NumberRule | None:
    """Return the rule that stops a message of this kind to the number now; None if none does."""
    values = {"kind": kind.value, "phone": phone, "now": now}
    rule: str | None = await uow.session.scalar(STOPPING_RULE, values)
    return None if rule is None else NumberRule(rule)
