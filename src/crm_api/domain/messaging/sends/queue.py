"""Queue messages that belong to no campaign; ``queued_claim.py`` claims them for sending.

A user can choose the time of sending (``scheduled_for``). A message with such a time is called a
scheduled message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends.number_rules import NumberRule, stopping_rule_of
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

LATEST_AFTER_SCHEDULE = timedelta(hours=48)
"""A message for which a user chose the time of sending may still be sent this long after that time
(Invariant 6). So the message is still sent after a day without legal hours. It is not sent after
its line was blocked for a week."""

# The statement reads only messages that are due within a short time, so the index on `send_after`
# finds few rows.
NEXT_SCHEDULED = text("""
    SELECT min(t.send_after) FROM activity t
    WHERE t.status = 'queued' AND t.send_after > :now AND t.send_after <= :until
      AND t.scheduled_for IS NOT NULL
""")


async def next_scheduled(uow: UnitOfWork, *, within: timedelta, now: datetime) -> datetime | None:
    """Return the time at which the next scheduled message becomes due.

    A scheduled message is one for which a user chose the time of sending. The result is None if no
    scheduled message becomes due from now until ``now + within``.
    """
    due: datetime | None = await uow.session.scalar(
        NEXT_SCHEDULED, {"now": now, "until": now + within}
    )
    return due


LONGEST_NUDGE = timedelta(minutes=1)
"""If the next message becomes due later than this, the job that sends it is not requested, because
the job runs every minute in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends a message through the API: a user or an API key."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message outside campaigns.

    Attributes:
        sender: None if the service itself sends the message.
        send_after: The message is not sent before this instant; None for as soon as possible.
        scheduled_for: The instant that the sender chose, or the next legal instant after it; None
            if the sender chose none.
        media: The files of the message, as ``uploads.describe_uploads`` returns them.
        is_immediate: True if a user wrote the message and chose no later time. Then the person's
            waiting ends when the message is queued. If the user chose a later time, the waiting
            ends when the message is sent.
    """

    line_id: UUID
    phone: str
    body: str
    kind: SendKind
    contact_id: UUID | None
    sender: Sender | None = None
    send_after: datetime | None = None
    scheduled_for: datetime | None = None
    media: Sequence[dict[str, Any]] = ()

    @property
    def is_immediate(self) -> bool:
        """Return True if the message counts as an answer to the person.

        A message counts as an answer if a user wrote it and did not choose a later time for it.
        """
        return self.kind is SendKind.MANUAL and self.scheduled_for is None


# The column `last_outgoing_at` is set later, when the provider accepts the message. After a user's
# message, the person does not wait any more. A conversation that begins with a user's message has
# the state `open`.
UPSERT_CONVERSATIONS = text("""
    INSERT INTO conversation AS known
        (id, line_id, phone, contact_id, state, last_activity_at, created_at)
    SELECT id, line_id, phone, contact_id, CASE WHEN is_immediate THEN 'open' ELSE 'done' END,
           :now, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]), CAST(:phones AS text[]),
                CAST(:contact_ids AS uuid[]), CAST(:are_answers AS boolean[]))
        AS touched (id, line_id, phone, contact_id, is_immediate)
    ORDER BY line_id, phone
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(known.last_activity_at, excluded.last_activity_at),
        contact_id = coalesce(known.contact_id, excluded.contact_id),
        state = CASE WHEN excluded.state = 'open' AND known.state = 'waiting' THEN 'open'
                     ELSE known.state END,
        waiting_since = CASE WHEN excluded.state = 'open' THEN NULL ELSE known.waiting_since END,
        updated_at = CASE WHEN excluded.state = 'open' AND known.waiting_since IS NOT NULL
                          THEN excluded.created_at ELSE known.updated_at END
    RETURNING line_id, phone, id
""")


async def queue_messages(
    uow: UnitOfWork, messages: Sequence[NewMessage], *, now: datetime
) -> list[Activity]:
    """Store messages to be sent, and request the job that sends them.

    The line's daily limit does not stop a message, but the message counts towards the limit.

    Returns:
        The rows of the messages, in the order of ``messages``.
    """
    if not messages:
        return []
    contacts = {(one.line_id, one.phone): one.contact_id for one in messages}
    answered = {(one.line_id, one.phone) for one in messages if one.is_immediate}
    touched = await uow.session.execute(
        UPSERT_CONVERSATIONS,
        {
            "ids": [new_id() for _ in contacts],
            "line_ids": [line_id for line_id, _ in contacts],
            "phones": [phone for _, phone in contacts],
            "contact_ids": list(contacts.values()),
            "are_answers": [key in answered for key in contacts],
            "now": now,
        },
    )
    conversations = {(row.line_id, row.phone): row.id for row in touched}
    activities = [
        Activity(
            kind="message",
            direction="outgoing",
            origin=one.kind.value,
            line_id=one.line_id,
            conversation_id=conversations[one.line_id, one.phone],
            contact_id=one.contact_id,
            phone=one.phone,
            body=one.body,
            media=list(one.media),
            status="queued",
            rank=0,
            send_after=one.send_after or now,
            scheduled_for=one.scheduled_for,
            sent_by_id=None if one.sender is None else one.sender.id,
            sent_by_name=None if one.sender is None else one.sender.name,
            occurred_at=now,
            created_at=now,
            updated_at=now,
        )
        for one in messages
    ]
    uow.session.add_all(activities)
    await uow.session.flush()
    wait = min(one.send_after or now for one in messages) - now
    if wait <= LONGEST_NUDGE:
        delay = max(0.0, wait.total_seconds())
        uow.after_commit(Job(name=JobName.SEND_MESSAGES, delay_seconds=delay))
    return activities


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
    """Store one message to be sent as soon as possible; see ``queue_messages``."""
    message = NewMessage(line_id=line_id, phone=phone, body=body, kind=kind, contact_id=contact_id)
    (activity,) = await queue_messages(uow, [message], now=now)
    return activity


STOPPING_RULES = text(f"""
    SELECT n.phone, {stopping_rule_of("CAST(:kind AS text)", phone="n.phone")} AS rule
    FROM unnest(CAST(:phones AS text[])) AS n (phone)
""")


async def find_stopping_rules(
    uow: UnitOfWork, *, kind: SendKind, phones: Sequence[str], now: datetime
) -> dict[str, NumberRule]:
    """Return the rules that now stop messages of one kind, by phone number.

    A number without such a rule is missing in the result.
    """
    if not phones:
        return {}
    values = {"kind": kind.value, "phones": list(phones), "now": now}
    found = await uow.session.execute(STOPPING_RULES, values)
    return {row.phone: NumberRule(row.rule) for row in found if row.rule is not None}


async def find_stopping_rule(
    uow: UnitOfWork, *, kind: SendKind, phone: str, now: datetime
) -> NumberRule | None:
    """Return the rule that now forbids messages of this kind to a number; None if no rule does."""
    return (await find_stopping_rules(uow, kind=kind, phones=[phone], now=now)).get(phone)
