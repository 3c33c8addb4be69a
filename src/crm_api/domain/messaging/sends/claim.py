"""Claim due recipients of a campaign: reserve them for one worker, which sends their messages.

A claim locks the line, counts the messages of today, locks the recipients' numbers, inserts the
attempts to send, and writes the messages to the timeline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.contact_columns import MESSAGE_COLUMNS
from crm_api.domain.kit.errors import InvalidError
from crm_api.domain.messaging.company.carriers import carrier_of
from crm_api.domain.messaging.sends import (
    carrier_budgets,
    derive,
    holdouts,
    pacing,
    stray_recipients,
    usage,
)
from crm_api.domain.messaging.sends.attempt_insertion import (
    insert_attempts,
    postpone_messaged,
    show_claimed,
)
from crm_api.domain.messaging.sends.claim_order import (
    NO_CAP,
    RETRY_CLAIM_AFTER,
    SEND_ANYWAY,
    ClaimedAttempt,
    ClaimOrder,
    ClaimResult,
    DueRecipient,
    PlannedAttempt,
    SendingLine,
)
from crm_api.domain.messaging.sends.number_rules import WAS_CONTACTED
from crm_api.domain.messaging.sends.pacing import Pace, Room
from crm_api.domain.messaging.sends.stray_recipients import DUE_RECIPIENTS
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows
from crm_api.platform.ids import new_id


@dataclass(frozen=True, kw_only=True)
class _Allowance:
    """How many messages a campaign may claim now, counted while the line is locked.

    Attributes:
        room: What is left of the daily limits.
        pace: The stored state of the campaign's pacing; None before the first message.
        quota: The number of messages that the limits and the pacing allow now.
        is_ramp_waiting: True if the line has a ramp plan that has not started.
    """

    room: Room
    pace: Pace | None
    quota: int
    is_ramp_waiting: bool


class _Picking(TypedDict):
    campaign_id: UUID
    zone_keys: list[str]
    limit: int
    now: datetime


async def claim_recipients(
    uow: UnitOfWork, order: ClaimOrder, *, limit: int, times: SendTimes, now: datetime
) -> ClaimResult:
    """Claim up to ``limit`` recipients of a campaign whose messages are due.

    The line is locked before the messages of today are counted (``ARCHITECTURE.md``, "Sending, rule
    1"). The caller must commit before it sends the claimed messages.
    """
    session = uow.session
    # A zone key (the states and time zones in which a person may live) is left out if its legal
    # hours end before a request could be completed. The gate (the last check before the call of the
    # provider) would refuse an attempt for such a zone key.
    zones = [key for key, closes_at in order.open_zones.items() if closes_at > now + times.call]
    line = await lock_line(session, campaign_id=order.campaign_id, now=now) if zones else None
    if line is None:
        return ClaimResult()
    if line.stopped_variants != order.stopped_variants:
        return ClaimResult(is_stale=True)
    await failpoints.reach("claim.locked")
    allowance = await _count_allowance(uow, order, line, zones=zones, times=times, now=now)
    wanted = min(limit, allowance.quota)
    if wanted <= 0:
        return ClaimResult()
    # The rows are locked in this order: the line, the carrier budgets, the numbers. All
    # transactions use this order, so that they cannot deadlock.
    carriers = None
    if line.has_carrier_budgets:
        carriers = await carrier_budgets.read_carrier_room(
            uow, grace=times.grace, now=now, is_locked=True
        )
    asked = max(wanted, carrier_budgets.LOOK_AHEAD) if carriers and carriers.is_short else wanted
    picking: _Picking = {
        "campaign_id": order.campaign_id,
        "zone_keys": zones,
        "limit": asked,
        "now": now,
    }
    due = await lock_candidates(session, **picking)
    if len(due) < asked and await stray_recipients.follow_contacts(session, **picking):
        due = await lock_candidates(session, **picking)
    current = await _set_moved_aside(uow, order, due, now=now)
    allowed = await _set_contacted_aside(uow, order, current, now=now)
    if line.has_holdout:
        allowed = await holdouts.hold_out(session, allowed, now=now)
    planned, lacking = _plan_attempts(order, allowed, line)
    for reason, membership_ids in lacking.items():
        await derive.skip_recipients(session, membership_ids=membership_ids, reason=reason, now=now)
    has_passed_over = False
    if carriers is not None:
        share = carriers.take(planned, most=wanted)
        planned, has_passed_over = share.taken, share.has_passed_over
        await derive.derive_recipients(
            session, membership_ids=share.held, now=now, due_at=carriers.held_until
        )
    claimed = await _insert_planned(uow, order, planned, line=line, times=times, now=now)
    if claimed:
        await _advance_pace(uow, order, allowance, taken=len(claimed), now=now)
    # The query may have found fewer recipients than it asked for. Then the missing recipients are
    # locked by another transaction or do not exist. In both cases, the next run can look for them.
    is_short = len(due) < asked and not has_passed_over
    is_exhausted = is_short or len(claimed) >= allowance.quota
    return ClaimResult(claimed=claimed, is_exhausted=is_exhausted)


# The statement reads the campaign again. After the claim was planned, the campaign may have been
# paused, or a variant may have been stopped.
LOCK_LINE = text("""
    SELECT l.id, l.timezone, l.name, l.number, l.phone_number_id, l.is_probing,
           EXISTS (SELECT 1 FROM company_settings s WHERE s.carrier_budgets <> '{}')
               AS has_carrier_budgets,
           EXISTS (SELECT 1 FROM holdout h WHERE h.starts_at <= :now AND h.ends_at > :now)
               AS has_holdout,
           (SELECT count(*) FROM campaign_variant v
            WHERE v.campaign_id = c.id AND v.stopped_at IS NOT NULL) AS stopped_variants
    FROM line l JOIN campaign c ON c.line_id = l.id
    WHERE c.id = :campaign_id AND c.status = 'running' AND l.status = 'active'
    FOR NO KEY UPDATE OF l
""")


async def lock_line(
    session: AsyncSession, *, campaign_id: UUID, now: datetime
) -> SendingLine | None:
    """Lock the line of a running campaign and return it.

    Other workers may store messages while this function waits for the lock. So the caller must
    count the messages of the line after this function has returned.

    Returns:
        The line; None if the campaign is not running or the line is blocked.
    """
    locked = await session.execute(LOCK_LINE, {"campaign_id": campaign_id, "now": now})
    return typed_row(SendingLine, locked.one_or_none())


async def _count_allowance(
    uow: UnitOfWork,
    order: ClaimOrder,
    line: SendingLine,
    *,
    zones: list[str],
    times: SendTimes,
    now: datetime,
) -> _Allowance:
    used = (
        await usage.count_usage(
            uow.session,
            line_ids=[order.line_id],
            campaign_id=order.campaign_id,
            grace=times.grace_seconds,
            now=now,
        )
    )[0]
    room = Room(
        line_left=used.line_limit - used.line_used,
        campaign_left=order.daily_limit - used.campaign_used,
        ends_at=min(used.ends_at, max(order.open_zones[key] for key in zones)),
    )
    pace = (
        None
        if used.next_at is None
        else Pace(next_at=used.next_at, batch_left=used.batch_left or 0)
    )
    quota = pacing.quota(order.pacing, pace, room, now)
    if line.is_probing:
        # The line is on trial after a block. It sends one message at a time, until the provider
        # accepts one.
        quota = min(quota, 0 if used.line_open else 1)
    return _Allowance(room=room, pace=pace, quota=quota, is_ramp_waiting=used.is_ramp_waiting)


# This statement locks the contacts of the candidates. The lock of a contact is also the lock of its
# number. So two lines cannot claim (reserve) messages to one number at the same time.
LOCK_CANDIDATES = text(f"""
    SELECT m.id, m.contact_id, m.phone, m.zone_key, m.variant, m.step,
           c.zone_key AS contact_zone_key,
           {", ".join(f"c.{name}" for name in MESSAGE_COLUMNS)}, c.attributes,
           (SELECT k.carrier FROM phone_lookup k WHERE k.phone = m.phone) AS carrier_name
    FROM ({DUE_RECIPIENTS}
    ) picked
    JOIN campaign_membership m ON m.id = picked.id
    JOIN contact c ON c.phone = m.phone
    ORDER BY m.due_at, m.id
    FOR NO KEY UPDATE OF c SKIP LOCKED
""")


async def lock_candidates(
    session: AsyncSession, *, campaign_id: UUID, zone_keys: list[str], limit: int, now: datetime
) -> list[DueRecipient]:
    """Lock the phone numbers of due recipients, and return these recipients, earliest due first.

    A recipient is left out if another transaction has locked the recipient's number.

    Args:
        zone_keys: The zone keys for which messages are allowed now. Recipients with another zone
            key are left out.
    """
    values = {"campaign_id": campaign_id, "zone_keys": zone_keys, "limit": limit, "now": now}
    return typed_rows(DueRecipient, await session.execute(LOCK_CANDIDATES, values))


# The campaign is locked before the recipients that the next statement changes.
ADD_ZONE_KEYS = text("""
    UPDATE campaign c
    SET zone_keys = ARRAY(
        SELECT DISTINCT z FROM unnest(c.zone_keys || CAST(:zone_keys AS text[])) AS z)
    WHERE c.id = :campaign_id AND NOT c.zone_keys @> CAST(:zone_keys AS text[])
""")

COPY_ZONE_KEYS = text("""
    UPDATE campaign_membership m SET zone_key = x.zone_key, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:zone_keys AS text[])) AS x (id, zone_key)
    WHERE m.id = x.id
""")


async def _set_moved_aside(
    uow: UnitOfWork, order: ClaimOrder, due: Sequence[DueRecipient], *, now: datetime
) -> Sequence[DueRecipient]:
    """Return the recipients whose zone key is that of their contact.

    The other recipients get the zone key of their contact, and wait for a claim of this zone key.
    Such a recipient exists if the contact moved while another transaction stored the recipient: the
    transaction that changed the contact did not see the recipient. Here the contacts are locked, so
    their zone keys cannot change before the claim is stored.
    """
    moved = [one for one in due if one.zone_key != one.contact_zone_key]
    if not moved:
        return due
    zone_keys = [one.contact_zone_key for one in moved]
    await uow.session.execute(
        ADD_ZONE_KEYS, {"campaign_id": order.campaign_id, "zone_keys": sorted(set(zone_keys))}
    )
    values = {"ids": [one.id for one in moved], "zone_keys": zone_keys, "now": now}
    await uow.session.execute(COPY_ZONE_KEYS, values)
    return [one for one in due if one.zone_key == one.contact_zone_key]


async def _set_contacted_aside(
    uow: UnitOfWork, order: ClaimOrder, due: Sequence[DueRecipient], *, now: datetime
) -> Sequence[DueRecipient]:
    """Return the recipients that the campaign's rule ``previously_contacted`` allows.

    Recipients that the rule does not allow are skipped or put in review. The rule was already
    applied when the audience was stored. It is applied again, because another campaign may have
    contacted the person after the audience was stored.
    """
    if not due or order.previously_contacted == SEND_ANYWAY:
        return due
    aside = await set_contacted_aside(
        uow.session,
        membership_ids=[recipient.id for recipient in due],
        rule=order.previously_contacted,
        now=now,
    )
    return [recipient for recipient in due if recipient.id not in aside]


# The numbers are already locked. So if two campaigns claim (reserve) a message to one number at the
# same time, the second campaign sees the message of the first. The recipient's status is checked
# again, because an opt-out may have arrived in the meantime. The status is compared with `IS NOT
# DISTINCT FROM`. With `=`, the planner would choose the partial index of all pending recipients.
SET_ASIDE = text(f"""
    UPDATE campaign_membership m
    SET status = CASE WHEN CAST(:rule AS text) = 'skip' THEN 'skipped' ELSE 'review' END,
        skip_reason = CASE WHEN CAST(:rule AS text) = 'skip' THEN 'previously_contacted' END,
        updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.status IS NOT DISTINCT FROM 'pending'
      AND {WAS_CONTACTED}
    RETURNING m.id
""")


async def set_contacted_aside(
    session: AsyncSession, *, membership_ids: Sequence[UUID], rule: str, now: datetime
) -> set[UUID]:
    """Skip the recipients who were contacted before, or put them in review; return their ids.

    Args:
        rule: ``skip``, or ``review`` (a user must approve or reject the recipients).
    """
    values = {"ids": list(membership_ids), "rule": rule, "now": now}
    return set((await session.scalars(SET_ASIDE, values)).all())


def _plan_attempts(
    order: ClaimOrder, due: Sequence[DueRecipient], line: SendingLine
) -> tuple[list[PlannedAttempt], dict[str, list[UUID]]]:
    """Write the body of each recipient's message and plan an attempt for it.

    Returns:
        The planned attempts, and a dict of the recipients whose message could not be written. The
        dict contains the ids of these recipients by skip reason.
    """
    planned: list[PlannedAttempt] = []
    lacking: dict[str, list[UUID]] = {}
    for recipient in due:
        try:
            body = order.compose(recipient, line)
        except InvalidError as error:
            lacking.setdefault(error.code, []).append(recipient.id)
        else:
            planned.append(_plan_attempt(order, recipient, body))
    return planned, lacking


def _plan_attempt(order: ClaimOrder, recipient: DueRecipient, body: str) -> PlannedAttempt:
    max_recent, recent_hours = order.caps.get(recipient.zone_key, NO_CAP)
    return PlannedAttempt(
        attempt_id=new_id(),
        membership_id=recipient.id,
        contact_id=recipient.contact_id,
        phone=recipient.phone,
        body=body,
        variant=order.compose.variant_of(recipient),
        not_after=order.open_zones[recipient.zone_key],
        max_recent=max_recent,
        recent_hours=recent_hours,
        segments=carrier_budgets.segments_of(body),
        carrier=carrier_of(recipient.carrier_name),
    )


async def _insert_planned(
    uow: UnitOfWork,
    order: ClaimOrder,
    planned: list[PlannedAttempt],
    *,
    line: SendingLine,
    times: SendTimes,
    now: datetime,
) -> list[ClaimedAttempt]:
    if not planned:
        return []
    token = uuid4()
    cap_texts, cap_days = order.frequency_cap or NO_CAP
    inserted = await insert_attempts(
        uow.session,
        planned,
        cap_texts=cap_texts,
        cap_hours=None if cap_days is None else cap_days * 24,
        campaign_id=order.campaign_id,
        line_id=order.line_id,
        token=token,
        lease_until=now + times.lease,
        min_days=order.min_days_between,
        grace=times.grace_seconds,
        now=now,
    )
    if inserted:
        await show_claimed(
            uow.session, inserted, campaign_id=order.campaign_id, line_id=order.line_id, now=now
        )
    taken = {one.membership_id for one in inserted}
    left = [one.membership_id for one in planned if one.membership_id not in taken]
    await derive.derive_recipients(
        uow.session, membership_ids=left, now=now, due_at=now + RETRY_CLAIM_AFTER
    )
    if left and order.min_days_between is not None:
        await postpone_messaged(
            uow.session, membership_ids=left, min_days=order.min_days_between, now=now
        )
    return [
        ClaimedAttempt(
            attempt_id=one.attempt_id,
            token=token,
            membership_id=one.membership_id,
            campaign_id=order.campaign_id,
            line_id=order.line_id,
            sender=line.phone_number_id,
            phone=one.phone,
            body=one.body,
            is_probe=line.is_probing,
        )
        for one in inserted
    ]


SET_PACE = text("""
    INSERT INTO campaign_pace (campaign_id, next_at, batch_left)
    VALUES (:campaign_id, :next_at, :batch_left)
    ON CONFLICT (campaign_id) DO UPDATE
    SET next_at = excluded.next_at, batch_left = excluded.batch_left
""")

# A ramp plan (the daily limits of a new line on its first days) starts on the day of the
# first campaign message under the plan, in the time zone of the line.
BEGIN_RAMP = text("""
    UPDATE line l
    SET ramp_started_on = CAST(CAST(:now AS timestamptz) AT TIME ZONE l.timezone AS date)
    WHERE l.id = :line_id AND l.ramp_started_on IS NULL
""")


async def _advance_pace(
    uow: UnitOfWork, order: ClaimOrder, allowance: _Allowance, *, taken: int, now: datetime
) -> None:
    """Store when the campaign's next message may be claimed (reserved for sending).

    If the line has a ramp plan (lower limits on the first days) that has not started, the plan
    starts today.
    """
    pace = pacing.advance(order.pacing, allowance.pace, allowance.room, taken=taken, now=now)
    await uow.session.execute(
        SET_PACE,
        {
            "campaign_id": order.campaign_id,
            "next_at": pace.next_at,
            "batch_left": pace.batch_left,
        },
    )
    if allowance.is_ramp_waiting:
        await uow.session.execute(BEGIN_RAMP, {"line_id": order.line_id, "now": now})
