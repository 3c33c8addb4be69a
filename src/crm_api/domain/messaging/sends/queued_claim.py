"""Claim queued messages outside campaigns: lock them, check the rules, insert attempts.

These are messages that users wrote, test messages, reminders of appointments, responses to HELP,
confirmations of opt-outs, and away replies (automatic answers while the office is closed). To claim
is to reserve messages for one worker, which then sends them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import text

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.company.carriers import carrier_of
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import blocking
from crm_api.domain.messaging.sends.carrier_budgets import segments_of
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.legal_hours import (
    NUMBER_ZONE,
    NumberZone,
    hours_of,
    zone_key_of_number,
)
from crm_api.domain.messaging.sends.number_rules import CODE_OF_RULE, may_get_of, stopping_rule_of
from crm_api.domain.messaging.sends.queue import LATEST_AFTER_SCHEDULE
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.waiting import derive_waiting_of_messages
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

QUEUE_ORDER = "(t.origin NOT IN ('confirmation', 'help'))"
NEVER_OPEN_RETRY = timedelta(days=1)
"""If the law allows no message to a number within two weeks, the legal hours are checked again
after this time."""
AWAY_LASTS = timedelta(minutes=15)
"""How long after it was queued an away reply may still be sent. After a longer delay, for example
on a blocked line, the reply would be confusing, and the office may be open again."""
LASTS = {
    SendKind.AWAY: AWAY_LASTS,
    SendKind.CONFIRMATION: timedelta(minutes=5),
    SendKind.HELP: timedelta(days=1),
}
"""How long after it was queued an automatic message may still be sent. A confirmation needs no
consent only if it is sent within five minutes after the opt-out. Source: 47 CFR 64.1200(a)(12),
read 2026-11-24."""
TOO_LATE = "too_late"
"""The error code of a message that could not be sent before its latest instant."""
MEDIA_NOT_SUPPORTED = "media_not_supported"
"""The error code of a message with files that the provider cannot send."""

MediaLink = Callable[[UUID], str]
"""A function that returns the URL from which the provider downloads a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage(NumberZone):
    """A locked message of the queue, with facts about its line and its number.

    Attributes:
        phone_number_id: The provider's id of the line.
        is_probing: True if the line is on trial after a block. It sends one message at a time.
        rule: The rule that stops messages to the number; None if the message may be sent.
        is_own_line: True if the number is one of our lines.
        scheduled_for: The instant that a user chose, or the next legal instant after it; None for
            as soon as possible.
        appointment_at: The start of the appointment, for a reminder; None for other messages.
    """

    id: UUID
    line_id: UUID
    body: str
    origin: str
    phone_number_id: str
    is_probing: bool
    rule: str | None
    is_own_line: bool
    carrier_name: str | None
    created_at: datetime
    scheduled_for: datetime | None
    appointment_at: datetime | None
    media_ids: list[UUID]

    @property
    def latest(self) -> datetime | None:
        """The latest instant at which the message may be sent; None if there is no such limit.

        Only these messages have a limit: automatic replies (``LASTS``), messages with
        ``scheduled_for``, and reminders (until the appointment begins).
        """
        if self.origin == SendKind.REMINDER:
            return self.appointment_at
        lasts = LASTS.get(SendKind(self.origin))
        if lasts is not None:
            return self.created_at + lasts
        return None if self.scheduled_for is None else self.scheduled_for + LATEST_AFTER_SCHEDULE


@dataclass(frozen=True, slots=True)
class SendableMessage:
    """A queued message that may be sent now.

    Attributes:
        not_after: The latest instant at which the request to the provider may end; None if any
            time is allowed.
    """

    message: QueuedMessage
    not_after: datetime | None


async def claim_queued(
    uow: UnitOfWork,
    *,
    limit: int,
    times: SendTimes,
    rules: RuleBook,
    now: datetime,
    media_link: MediaLink | None = None,
) -> list[ClaimedAttempt]:
    """Claim up to ``limit`` queued messages outside campaigns.

    The caller must commit before it sends the messages. If a line is on trial, only one of its
    messages is claimed at a time.

    A message fails if a rule about the number forbids the message, or if the message cannot be sent
    before ``QueuedMessage.latest``. Outside the legal hours, a message is postponed. While another
    attempt to the number is open, a message waits. These messages ignore the legal hours:

    - confirmations
    - responses to HELP
    - answers to a person
    - test messages to our own lines

    Args:
        media_link: Returns the URL of a file for the provider. With None, messages with files fail.
    """
    sendable: list[SendableMessage] = []
    while not sendable:
        locked = await _lock_queued(uow, limit=limit, now=now)
        if not locked:
            return []
        allowed = await _fail_stopped(uow, locked, now=now)
        if media_link is None:
            allowed = await _fail_with_media(uow, allowed, now=now)
        open_now = await _postpone_closed(uow, allowed, times=times, rules=rules, now=now)
        on_trial = [one.message.line_id for one in open_now if one.message.is_probing]
        trials = await blocking.lock_trials(uow, on_trial)
        sendable = _limit_trials(open_now, trials)
    return await _insert(uow, sendable, trials, times=times, media_link=media_link, now=now)


# If a partition of the table has no statistics, the planner expects few rows and would sort all
# queued messages. If sorting is switched off, the planner reads the index in order.
READ_INDEX_IN_ORDER = text("SET LOCAL enable_sort = off")

READ_IN_ANY_ORDER = text("SET LOCAL enable_sort = on")

# The order must be exactly the order of the index `idx_activity_queue`: confirmations of opt-outs
# and automatic replies to HELP come first. By law, a confirmation must be sent within five minutes.
# If a thousand messages of users were sent before it, it would be too late. Numbers with an open
# attempt are left out, so that messages that must wait do not fill the batch. A message with a
# chosen time is never claimed (reserved for sending) before that time, whatever has changed its
# `send_after`. A reminder is queued at most two weeks before its appointment (`MOST_HOURS` of
# reminder rules). With this bound, the planner uses the index on `starts_at`.
LOCK_QUEUED = text(f"""
    SELECT t.id, t.line_id, t.phone, t.body, t.origin, t.created_at, t.scheduled_for,
           CASE WHEN t.origin = 'reminder' THEN (
               SELECT min(m.starts_at) FROM appointment_reminder m
               WHERE m.activity_id = t.id AND m.status = 'queued' AND m.starts_at > t.created_at
                 AND m.starts_at <= t.created_at + interval '14 days'
           ) END AS appointment_at,
           l.phone_number_id, l.is_probing,
           ARRAY(SELECT CAST(f ->> 'media_id' AS uuid) FROM jsonb_array_elements(t.media) f)
               AS media_ids,
           {stopping_rule_of("t.origin", phone="t.phone")} AS rule,
           EXISTS (SELECT 1 FROM line o WHERE o.number = t.phone) AS is_own_line,
           (SELECT k.carrier FROM phone_lookup k WHERE k.phone = t.phone) AS carrier_name,
           {NUMBER_ZONE.format(line_id="t.line_id", phone="t.phone")}
    FROM activity t JOIN line l ON l.id = t.line_id
    WHERE t.status = 'queued' AND t.send_after <= :now AND t.origin <> 'campaign'
      AND (t.scheduled_for IS NULL OR t.scheduled_for <= :now)
      AND l.status = 'active'
      AND NOT EXISTS (SELECT 1 FROM send_attempt b WHERE b.phone = t.phone AND b.is_open)
      AND NOT (l.is_probing AND EXISTS (
          SELECT 1 FROM send_attempt a
          WHERE a.line_id = l.id AND a.is_open))
    ORDER BY {QUEUE_ORDER}, t.send_after, t.id LIMIT :limit
    FOR NO KEY UPDATE OF t SKIP LOCKED
""")


async def _lock_queued(uow: UnitOfWork, *, limit: int, now: datetime) -> list[QueuedMessage]:
    """Lock and return the next messages of the queue that no other worker has locked."""
    await uow.session.execute(READ_INDEX_IN_ORDER)
    found = await uow.session.execute(LOCK_QUEUED, {"limit": limit, "now": now})
    await uow.session.execute(READ_IN_ANY_ORDER)
    return typed_rows(QueuedMessage, found)


FAIL_STOPPED = text(f"""
    UPDATE activity t
    SET status = 'failed', error_code = {CODE_OF_RULE.format(rule="w.rule")}, updated_at = :now
    FROM unnest(CAST(:activity_ids AS uuid[]), CAST(:rules AS text[])) AS w (activity_id, rule)
    WHERE t.id = w.activity_id
""")


FAIL = text("""
    UPDATE activity t SET status = 'failed', error_code = :code, updated_at = :now
    WHERE t.id = ANY(CAST(:activity_ids AS uuid[]))
""")


async def _fail(uow: UnitOfWork, ids: Sequence[UUID], *, code: str, now: datetime) -> None:
    if ids:
        values = {"activity_ids": list(ids), "code": code, "now": now}
        await uow.session.execute(FAIL, values)


BUSY_FOR = timedelta(seconds=2)
"""If a message must be marked as failed, but another transaction has locked its conversation, the
service tries again after this time."""

# Other statements lock a conversation before its messages. Here the messages are locked already. So
# this statement skips a locked conversation and does not wait for it. The transaction that locked
# the conversation, for example to store an opt-out, may itself wait for the message.
LOCK_FREE = text("""
    WITH free AS (
        SELECT k.id FROM activity t JOIN conversation k ON k.id = t.conversation_id
        WHERE t.id = ANY(CAST(:activity_ids AS uuid[])) AND t.origin = 'manual'
        ORDER BY k.line_id, k.phone FOR NO KEY UPDATE OF k SKIP LOCKED
    )
    SELECT t.id FROM activity t
    WHERE t.id = ANY(CAST(:activity_ids AS uuid[]))
      AND (t.origin <> 'manual' OR t.conversation_id IS NULL
           OR t.conversation_id IN (SELECT id FROM free))
""")


async def _lock_free(
    uow: UnitOfWork, failing: Sequence[QueuedMessage], *, now: datetime
) -> list[QueuedMessage]:
    """Return the messages that can be marked as failed now; postpone the others by ``BUSY_FOR``.

    For each message that a user wrote, the function locks the conversation. If another transaction
    has already locked it, the message is postponed.
    """
    if not failing:
        return []
    ids = {"activity_ids": [one.id for one in failing]}
    free = set(await uow.session.scalars(LOCK_FREE, ids))
    await _postpone(uow, {one.id: now + BUSY_FOR for one in failing if one.id not in free}, now=now)
    return [one for one in failing if one.id in free]


async def _fail_stopped(
    uow: UnitOfWork, locked: Sequence[QueuedMessage], *, now: datetime
) -> list[QueuedMessage]:
    """Mark messages as failed if a rule about their number stops them; return the others."""
    with_rule = [message for message in locked if message.rule is not None]
    stopped = await _lock_free(uow, with_rule, now=now)
    if stopped:
        values = {
            "activity_ids": [message.id for message in stopped],
            "rules": [message.rule for message in stopped],
            "now": now,
        }
        await uow.session.execute(FAIL_STOPPED, values)
        await derive_waiting_of_messages(uow.session, [one.id for one in stopped], now=now)
    return [message for message in locked if message.rule is None]


async def _fail_with_media(
    uow: UnitOfWork, allowed: Sequence[QueuedMessage], *, now: datetime
) -> list[QueuedMessage]:
    """Mark messages with files as failed, because the provider cannot send files any more.

    The messages were queued while the provider could still send files. A message without its files
    could be misunderstood, so it is not sent.
    """
    unsendable = [message for message in allowed if message.media_ids]
    with_files = [message.id for message in await _lock_free(uow, unsendable, now=now)]
    await _fail(uow, with_files, code=MEDIA_NOT_SUPPORTED, now=now)
    await derive_waiting_of_messages(uow.session, with_files, now=now)
    return [message for message in allowed if not message.media_ids]


POSTPONE_QUEUED = text("""
    UPDATE activity t SET send_after = w.send_after, updated_at = :now
    FROM unnest(CAST(:activity_ids AS uuid[]), CAST(:send_afters AS timestamptz[]))
        AS w (activity_id, send_after)
    WHERE t.id = w.activity_id
""")


async def _postpone(
    uow: UnitOfWork, send_afters: Mapping[UUID, datetime], *, now: datetime
) -> None:
    if send_afters:
        values = {
            "activity_ids": list(send_afters),
            "send_afters": list(send_afters.values()),
            "now": now,
        }
        await uow.session.execute(POSTPONE_QUEUED, values)


async def _postpone_closed(
    uow: UnitOfWork,
    locked: Sequence[QueuedMessage],
    *,
    times: SendTimes,
    rules: RuleBook,
    now: datetime,
) -> list[SendableMessage]:
    """Postpone messages outside legal hours; return the others, each with ``not_after``.

    A message fails if it cannot be sent before the instant ``QueuedMessage.latest``.
    """
    open_now: list[SendableMessage] = []
    send_afters: dict[UUID, datetime] = {}
    late: list[UUID] = []
    for message in locked:
        # Automatic replies to HELP and confirmations of opt-outs react to the person's own message.
        # A test message to one of our lines reaches only ourselves. So legal hours do not apply to
        # these messages.
        is_test = message.origin == SendKind.TEST and not message.is_own_line
        is_unasked = is_test or message.origin == SendKind.REMINDER
        has_hours = message.origin in {SendKind.MANUAL, SendKind.AWAY}
        closes_at: datetime | None = None
        if has_hours or is_unasked:
            hours = hours_of(message, rules=rules, is_unasked=is_unasked, now=now)
            closes_at = hours.not_after if hours.is_open else now
        # The legal hours are treated as over if they end before a request could be completed.
        is_open = closes_at is None or closes_at > now + times.call
        leaves_at = now
        if closes_at is not None and not is_open:
            opens_at = rules.next_open(zone_key_of_number(message), closes_at)
            leaves_at = opens_at or now + NEVER_OPEN_RETRY
        if message.latest is not None and leaves_at + times.call >= message.latest:
            late.append(message.id)
        elif is_open:
            open_now.append(SendableMessage(message, _earlier(closes_at, message.latest)))
        else:
            send_afters[message.id] = leaves_at
    await _fail(uow, late, code=TOO_LATE, now=now)
    await _postpone(uow, send_afters, now=now)
    return open_now


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two instants; None means no limit."""
    return min((at for at in (one, other) if at is not None), default=None)


def _limit_trials(
    open_now: Sequence[SendableMessage], trials: blocking.Trials
) -> list[SendableMessage]:
    """Return the messages that the lines may send now.

    A line on trial was blocked before. It may send one message, or none while it has an unfinished
    attempt. Other lines have no such limit.
    """
    kept: list[SendableMessage] = []
    taken = set(trials.busy)
    for one in open_now:
        line_id = one.message.line_id
        if line_id in taken:
            continue
        if line_id in trials.lines:
            taken.add(line_id)
        kept.append(one)
    return kept


# This statement checks consent again. A number can have only one open attempt. If two messages go
# to one number, the message that is earlier in the queue gets the attempt.
CLAIM_QUEUED = text(f"""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:attempt_ids AS uuid[]), CAST(:activity_ids AS uuid[]),
                CAST(:not_afters AS timestamptz[]), CAST(:segments AS smallint[]),
                CAST(:carriers AS text[]))
            WITH ORDINALITY
            AS w (attempt_id, activity_id, not_after, segments, carrier, position)
    ), claimed AS (
        INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, token,
            lease_until, not_after, segments, carrier, created_at, updated_at)
        SELECT w.attempt_id, t.origin, t.line_id, t.id, t.phone, t.body, 'claimed', :token,
               :lease_until, w.not_after, w.segments, w.carrier, :now, :now
        FROM wanted w JOIN activity t ON t.id = w.activity_id
        WHERE {may_get_of("t.origin", phone="t.phone")}
        ORDER BY w.position
        ON CONFLICT DO NOTHING
        RETURNING id, activity_id
    ), shown AS (
        UPDATE activity t SET status = 'sending', rank = 1, updated_at = :now
        FROM claimed c WHERE t.id = c.activity_id
    )
    SELECT id FROM claimed
""")


async def _insert(
    uow: UnitOfWork,
    sendable: Sequence[SendableMessage],
    trials: blocking.Trials,
    *,
    times: SendTimes,
    media_link: MediaLink | None,
    now: datetime,
) -> list[ClaimedAttempt]:
    token = uuid4()
    attempts = {new_id(): one.message for one in sendable}
    messages = list(attempts.values())
    inserted = await uow.session.execute(
        CLAIM_QUEUED,
        {
            "attempt_ids": list(attempts),
            "activity_ids": [message.id for message in messages],
            "not_afters": [one.not_after for one in sendable],
            "segments": [segments_of(message.body) for message in messages],
            "carriers": [carrier_of(message.carrier_name) for message in messages],
            "token": token,
            "lease_until": now + times.lease,
            "now": now,
        },
    )
    taken = set(inserted.scalars())
    return [
        ClaimedAttempt(
            attempt_id=attempt_id,
            token=token,
            membership_id=None,
            campaign_id=None,
            line_id=message.line_id,
            sender=message.phone_number_id,
            phone=message.phone,
            body=message.body,
            is_scheduled=message.scheduled_for is not None,
            media_urls=tuple(map(media_link, message.media_ids)) if media_link else (),
            is_probe=message.line_id in trials.lines,
        )
        for attempt_id, message in attempts.items()
        if attempt_id in taken
    ]
