"""Read the facts about a recipient that are checked before a message to the recipient is claimed.

To claim a message means to reserve it for sending.
"""

from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.templates.message_composer import FollowUpBody, VariantBody
from crm_api.domain.kit.contact_columns import MESSAGE_COLUMNS, ContactValues
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import (
    FOLLOW_UPS_ENDED_BY,
    IS_KEPT,
    STOPS,
    WAS_CONTACTED,
    WAS_MESSAGED_LATELY,
    WAS_MESSAGED_OFTEN,
    rule_applies,
)
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.sends.usage import LINE_LIMIT
from crm_api.platform.database import UnitOfWork, typed_row

# SQL for a time limit of a rule that allows at most `max_recent` messages to a phone number in
# `hours` hours. The expression gives the instant from which the rule allows the next message. At
# this instant, the oldest of the last `max_recent` messages to the number is `hours` hours old.
_OFTEN_UNTIL = """(
    SELECT greatest(a.created_at, a.called_at, a.accepted_at) + make_interval(hours => {hours})
    FROM send_attempt a
    WHERE a.phone = m.phone AND a.kind = 'campaign' AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => {hours} + 1)
    ORDER BY greatest(a.created_at, a.called_at, a.accepted_at) DESC
    OFFSET {max_recent} - 1 LIMIT 1)"""

_BY_LAW = {
    "max_recent": "CAST(:max_recent AS integer)",
    "hours": "CAST(:recent_hours AS integer)",
}

_BY_CAMPAIGN = {
    "max_recent": "CAST(c.frequency_cap ->> 'texts' AS integer)",
    "hours": "(CAST(c.frequency_cap ->> 'days' AS integer) * 24)",
}

_NUMBER_RULES = ", ".join(
    f"CASE WHEN {rule_applies(rule, phone='m.phone')} THEN '{rule}' END"
    for rule in STOPS[SendKind.CAMPAIGN]
)


ZONE_KEY = text("""
    SELECT m.zone_key FROM campaign_membership m
    WHERE m.campaign_id = :campaign_id AND m.contact_id = :contact_id LIMIT 1
""")


async def find_zone_key(uow: UnitOfWork, *, campaign_id: UUID, contact_id: UUID) -> str | None:
    """Return the states and time zones in which a recipient may live, as one text (the zone key).

    The legal hours of all these states and time zones apply to the recipient. The result is None if
    the contact is not a recipient of the campaign.
    """
    values = {"campaign_id": campaign_id, "contact_id": contact_id}
    key: str | None = await uow.session.scalar(ZONE_KEY, values)
    return key


RECIPIENT_FACTS = text(f"""
    SELECT m.contact_id, m.phone, m.zone_key, m.variant, m.step, m.status, m.skip_reason,
           m.error_code, m.due_at, m.attempts,
           (SELECT v.name FROM campaign_variant v
             WHERE v.campaign_id = c.id AND v.position = m.variant) AS variant_name,
           (SELECT v.for_known FROM campaign_variant v
             WHERE v.campaign_id = c.id AND v.position = m.variant) AS is_known, c.kind,
           c.status AS campaign_status, c.start_at, c.end_at, c.paused_reason,
           c.paused_evidence, c.blocked_reason,
           c.daily_limit, c.min_days_between, c.frequency_cap, c.line_id, c.days, c.window_start,
           c.window_end, c.timezone, c.opt_out_footer, c.pacing_mode, c.batch_size,
           c.batch_interval_minutes, c.follow_ups, o.next_at, o.batch_left,
           (SELECT jsonb_agg(jsonb_build_object('body', v.body, 'weight', v.weight,
                                                'is_stopped', v.stopped_at IS NOT NULL)
                             ORDER BY v.position)
              FROM campaign_variant v WHERE v.campaign_id = c.id) AS variants,
           l.status AS line_status, l.blocked_reason AS line_blocked_reason,
           l.probe_at AS line_probe_at, u.status AS unclear_status, u.code AS unclear_code,
           u.since AS unclear_since,
           (SELECT h.held_until FROM rate_limit h
             WHERE h.name = 'openphone' AND h.held_until > :now) AS provider_held_until,
           l.is_probing AND EXISTS (
               SELECT 1 FROM send_attempt a WHERE a.line_id = l.id AND a.is_open) AS is_trial_busy,
           {LINE_LIMIT.format(line="l")} AS line_limit, l.daily_limit AS line_daily_limit,
           l.timezone AS line_timezone, l.name, l.number,
           {", ".join(f"p.{name}" for name in MESSAGE_COLUMNS)}, p.attributes,
           array_remove(ARRAY[{_NUMBER_RULES}], NULL) AS number_rules,
           {FOLLOW_UPS_ENDED_BY.format(member="m.id")} AS ended_by,
           {IS_KEPT.format(phone="m.phone")} AS is_kept,
           (SELECT max(a.called_at) + make_interval(secs => :grace) FROM send_attempt a
             WHERE a.phone = m.phone AND (a.status = 'parked' OR a.is_matched)) AS kept_until,
           c.previously_contacted,
           c.previously_contacted <> 'send' AND m.status = 'pending' AND {WAS_CONTACTED}
               AS was_contacted,
           {WAS_MESSAGED_LATELY.format(phone="m.phone", min_days="c.min_days_between")}
               AS was_texted_lately,
           {WAS_MESSAGED_OFTEN.format(phone="m.phone", **_BY_LAW)} AS was_texted_often,
           {_OFTEN_UNTIL.format(**_BY_LAW)} AS often_until,
           {WAS_MESSAGED_OFTEN.format(phone="m.phone", **_BY_CAMPAIGN)} AS is_capped,
           {_OFTEN_UNTIL.format(**_BY_CAMPAIGN)} AS capped_until,
           EXISTS (
               SELECT 1 FROM send_attempt a
               WHERE a.phone = m.phone AND a.is_open
                 AND a.membership_id IS DISTINCT FROM m.id) AS is_busy,
           (SELECT max(a.created_at) FROM send_attempt a
             WHERE a.phone = m.phone AND a.kind = 'campaign' AND a.campaign_id <> :campaign_id
               AND a.status NOT IN ('released', 'refused')) AS last_texted_at
    FROM campaign_membership m
    JOIN campaign c ON c.id = m.campaign_id
    JOIN line l ON l.id = c.line_id
    LEFT JOIN campaign_pace o ON o.campaign_id = c.id
    LEFT JOIN contact p ON p.id = m.contact_id
    LEFT JOIN LATERAL (
        SELECT a.status, a.error_code AS code, a.called_at AS since FROM send_attempt a
        WHERE a.membership_id = m.id AND m.status = 'unknown' AND a.status IN ('unknown', 'parked')
        ORDER BY a.called_at DESC LIMIT 1
    ) u ON true
    WHERE m.campaign_id = :campaign_id AND m.contact_id = :contact_id
      AND (CAST(:step AS smallint) IS NULL OR m.step = CAST(:step AS smallint))
    ORDER BY m.status IN ('sent', 'delivered', 'failed'), m.step LIMIT 1
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientFacts(ContactValues):
    """The facts that decide whether a recipient can get a message now.

    An attempt is called unclear if it is not known whether its message was sent.

    Attributes:
        is_known: True if the variant is only for people who were in touch with the company before;
            None if no variant is assigned.
        kind: Whom the campaign is for.
        name: The name of the line.
        number: The phone number of the line.
        unclear_status: The status of the unclear attempt; None if there is none.
        unclear_since: When the request of the unclear attempt began; None if there is none.
        is_trial_busy: True if the line is tested after a block, and one of its messages is being
            sent. During the test, the line sends one message at a time.
        number_rules: The rules about the phone number that prevent campaign messages, such as an
            opt-out.
        ended_by: What ended the follow-ups to the person, such as a reply; None if nothing did.
        is_kept: True if the phone number must wait until ``kept_until``.
        kept_until: The end of the wait after a parked or matched attempt; it may be in the past. An
            unclear attempt is parked if a user must settle it, and matched if a look-up or a report
            found its message. None if the number has no parked or matched attempt.
        was_contacted: True if the person got a message before, and the campaign skips or reviews
            such people.
        was_texted_lately: True if another campaign sent to the number in the last
            ``min_days_between`` days.
        was_texted_often: True if the phone number has reached the legal limit of messages.
        often_until: When the legal limit allows the next message; it may be in the past. None if
            the limit was not reached lately, or there is no limit.
        is_capped: True if the phone number has reached the ``frequency_cap`` of the campaign.
        capped_until: When the ``frequency_cap`` allows the next message; it may be in the past.
            None if the cap was not reached lately, or there is no cap.
        is_busy: True if another message to the phone number is being sent.
        last_texted_at: When another campaign last sent to the phone number; None if none did.
    """

    contact_id: UUID
    zone_key: str
    variant: int
    variant_name: str | None
    is_known: bool | None
    kind: str
    step: int
    status: str
    skip_reason: str | None
    error_code: str | None
    due_at: datetime
    attempts: int
    campaign_status: str
    start_at: datetime | None
    end_at: datetime | None
    paused_reason: str | None
    paused_evidence: dict[str, Any] | None
    blocked_reason: str | None
    daily_limit: int
    min_days_between: int | None
    frequency_cap: dict[str, int] | None
    line_id: UUID
    days: list[str]
    window_start: time
    window_end: time
    timezone: str | None
    opt_out_footer: str | None
    pacing_mode: str
    batch_size: int | None
    batch_interval_minutes: int | None
    follow_ups: list[FollowUpBody]
    next_at: datetime | None
    batch_left: int | None
    variants: list[VariantBody]
    line_status: str
    line_blocked_reason: str | None
    line_probe_at: datetime | None
    unclear_status: str | None
    unclear_code: str | None
    unclear_since: datetime | None
    provider_held_until: datetime | None
    is_trial_busy: bool
    line_limit: int
    line_daily_limit: int
    line_timezone: str
    name: str
    number: str
    number_rules: list[str]
    ended_by: str | None
    is_kept: bool
    kept_until: datetime | None
    previously_contacted: str
    was_contacted: bool
    was_texted_lately: bool
    was_texted_often: bool
    often_until: datetime | None
    is_capped: bool
    capped_until: datetime | None
    is_busy: bool
    last_texted_at: datetime | None


async def read_recipient_facts(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    step: int | None,
    cap: tuple[int, int] | None,
    times: SendTimes,
    now: datetime,
) -> RecipientFacts | None:
    """Read, in one statement, the facts that decide whether a recipient may be messaged now.

    Args:
        step: 0 for the first message. If None, the first step whose status is not ``sent``,
            ``delivered`` or ``failed`` is read. If there is no such step, step 0 is read.
        cap: The legal limit of campaign messages to a number: ``(3, 24)`` for 3 messages in 24
            hours. None if the law sets no limit.

    Returns:
        None if the contact is not a recipient of the campaign at this step.
    """
    max_recent, hours = cap or (None, None)
    values = {
        "campaign_id": campaign_id,
        "contact_id": contact_id,
        "step": step,
        "max_recent": max_recent,
        "recent_hours": hours,
        "grace": times.grace_seconds,
        "now": now,
    }
    row = (await uow.session.execute(RECIPIENT_FACTS, values)).one_or_none()
    return typed_row(RecipientFacts, row)
