"""The rules that decide which kinds of messages a number may get, as SQL expressions.

All code that sends, stops or explains messages builds its SQL from ``STOPS``. So a new rule about
numbers is added only here.

    ============  =========  ===============  ==============  ==============  ============
    kind          opted_out  contact_deleted  do_not_contact  invalid_number  opt_out_hold
    ============  =========  ===============  ==============  ==============  ============
    campaign      stops      stops            stops           stops           holds
    manual        stops      -                stops           -               -
    test          stops      -                stops           -               stops
    confirmation  -          -                stops           -               -
    help          -          -                stops           -               -
    reminder      stops      stops            stops           stops           stops
    away          stops      -                stops           -               stops
    ============  =========  ===============  ==============  ==============  ============

"Holds" means that the message waits until the hold ends.

- Campaign messages include follow-ups. A reply of the person stops follow-ups too
  (``FOLLOW_UP_ENDED``).
- A user may answer the doubtful reply during a hold.
- A confirmation and a response to HELP respond to the person's own message.
- Nobody asked for a reminder or an away reply, so every doubt about consent stops it.
- After an erasure (``do_not_contact``), the person must not get any message, not even the response
  to HELP.
"""

from collections.abc import Mapping
from enum import StrEnum

from crm_api.domain.messaging.models.sends import SendKind


class NumberRule(StrEnum):
    """A fact about a phone number that stops messages to the number.

    Users see the value, such as ``opted_out``, as the reason why a message was not sent.
    """

    OPTED_OUT = "opted_out"
    CONTACT_DELETED = "contact_deleted"
    DO_NOT_CONTACT = "do_not_contact"
    INVALID_NUMBER = "invalid_number"
    OPT_OUT_HOLD = "opt_out_hold"


STOPS: Mapping[SendKind, tuple[NumberRule, ...]] = {
    SendKind.CAMPAIGN: (
        NumberRule.OPTED_OUT,
        NumberRule.CONTACT_DELETED,
        NumberRule.DO_NOT_CONTACT,
        NumberRule.INVALID_NUMBER,
        NumberRule.OPT_OUT_HOLD,
    ),
    SendKind.MANUAL: (NumberRule.OPTED_OUT, NumberRule.DO_NOT_CONTACT),
    SendKind.TEST: (NumberRule.OPTED_OUT, NumberRule.DO_NOT_CONTACT, NumberRule.OPT_OUT_HOLD),
    SendKind.CONFIRMATION: (NumberRule.DO_NOT_CONTACT,),
    SendKind.HELP: (NumberRule.DO_NOT_CONTACT,),
    SendKind.REMINDER: (
        NumberRule.OPTED_OUT,
        NumberRule.CONTACT_DELETED,
        NumberRule.DO_NOT_CONTACT,
        NumberRule.INVALID_NUMBER,
        NumberRule.OPT_OUT_HOLD,
    ),
    SendKind.AWAY: (NumberRule.OPTED_OUT, NumberRule.DO_NOT_CONTACT, NumberRule.OPT_OUT_HOLD),
}
"""The rules that stop each kind of message. If several rules apply, the first is reported."""
HOLDING = NumberRule.OPT_OUT_HOLD
"""The rule that a hold on the number sets: a campaign message waits and is not skipped, because a
user will decide whether the person opted out."""

_FLAGGED = """EXISTS (
    SELECT 1 FROM contact_flag of_number
    WHERE of_number.phone = {phone} AND of_number.flag_type IN ({flags})
      AND (of_number.expires_at IS NULL OR of_number.expires_at > :now))"""
_DELETED = """EXISTS (
    SELECT 1 FROM contact of_number
    WHERE of_number.phone = {phone} AND of_number.deleted_at IS NOT NULL)"""


def has_flag(*flags: str, phone: str) -> str:
    """Return an SQL condition: true if ``phone`` has one of these flags now (not expired)."""
    return _FLAGGED.format(phone=phone, flags=", ".join(f"'{flag}'" for flag in flags))


def rule_applies(rule: NumberRule, *, phone: str) -> str:
    """Return an SQL condition: true if the rule applies to the number ``phone`` now."""
    if rule is NumberRule.CONTACT_DELETED:
        return _DELETED.format(phone=phone)
    return has_flag(rule, phone=phone)


def may_get(kind: SendKind, *, phone: str) -> str:
    """Return an SQL condition: true if the number ``phone`` may get a message of this kind now."""
    flags = [rule for rule in STOPS[kind] if rule is not NumberRule.CONTACT_DELETED]
    stops = [has_flag(*flags, phone=phone)]
    if NumberRule.CONTACT_DELETED in STOPS[kind]:
        stops.append(rule_applies(NumberRule.CONTACT_DELETED, phone=phone))
    return f"(NOT ({' OR '.join(stops)}))"


def stopping_rule(
    kind: SendKind, *, phone: str = "", facts: Mapping[NumberRule, str] | None = None
) -> str:
    """Return an SQL expression whose value is the name of the rule that stops a message.

    The value is null if no rule stops the message. Give either ``phone`` or ``facts``.

    Args:
        phone: The SQL expression of the number.
        facts: For each rule, an SQL condition that is true if the rule applies to the number. A
            rule without an entry does not apply.
    """
    if facts is None:
        facts = {rule: rule_applies(rule, phone=phone) for rule in STOPS[kind]}
    cases = [f"WHEN {facts[rule]} THEN '{rule}'" for rule in STOPS[kind] if rule in facts]
    return f"(CASE {' '.join(cases)} END)"


def may_get_of(kind: str, *, phone: str) -> str:
    """Return an SQL condition: true if the number ``phone`` may get a message now.

    The kind of the message is an SQL expression, such as a column. If all messages have the same
    kind, use ``may_get``.

    Args:
        kind: The SQL expression of the message's kind.
        phone: The SQL expression of the number.
    """
    cases = [f"WHEN '{one}' THEN {may_get(one, phone=phone)}" for one in SendKind]
    return f"(CASE {kind} {' '.join(cases)} ELSE false END)"


def stopping_rule_of(kind: str, *, phone: str) -> str:
    """Return an SQL expression whose value is the name of the rule that stops a message.

    The value is null if no rule stops the message. If all messages have the same kind, use
    ``stopping_rule``.

    Args:
        kind: The SQL expression of the message's kind.
        phone: The SQL expression of the number.
    """
    cases = [f"WHEN '{one}' THEN {stopping_rule(one, phone=phone)}" for one in SendKind]
    return f"(CASE {kind} {' '.join(cases)} END)"


CODE_OF_RULE = "'recipient_' || {rule}"
"""SQL expression of the error code for a message outside campaigns that a rule has stopped."""

FOLLOW_UPS_ENDED_BY = """(
    SELECT s.ended_by FROM campaign_membership f
    CROSS JOIN generate_series(0, f.step) AS earlier (step)
    JOIN campaign_membership s ON s.campaign_id = f.campaign_id AND s.step = earlier.step
        AND s.contact_id = f.contact_id
    WHERE f.id = {member} AND f.step > 0
      AND (s.ended_by IN ('replied', 'called') OR (s.id = f.id AND s.ended_by IS NOT NULL))
    ORDER BY s.step DESC LIMIT 1)"""
"""SQL expression of what ended a follow-up: a reply, a call or a merge. It is null if the follow-up
has not been ended.

The expression reads all steps up to the follow-up. Reason: if a step is created while a reply is
being stored, this step has no mark ``ended_by`` of its own.
"""
FOLLOW_UP_ENDED = f"({FOLLOW_UPS_ENDED_BY} IS NOT NULL)"

IS_KEPT = """EXISTS (
    SELECT 1 FROM send_attempt a
    WHERE a.phone = {phone} AND (a.status = 'parked' OR a.is_matched)
      AND a.called_at > CAST(:now AS timestamptz) - make_interval(secs => :grace))"""
"""SQL condition that a number must not get another message yet. The condition is true if the number
has a parked attempt (unclear, waiting for a user) or a matched attempt (found by a look-up or a
report) whose request began less than the grace period ago (Sending, rule 2)."""
WAS_MESSAGED_LATELY = """({min_days} IS NOT NULL AND EXISTS (
    SELECT 1 FROM send_attempt a
    WHERE a.phone = {phone} AND a.kind = 'campaign' AND a.campaign_id <> :campaign_id
      AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(days => {min_days})))"""
WAS_MESSAGED_OFTEN = """({max_recent} IS NOT NULL AND {max_recent} <= (
    SELECT count(*) FROM send_attempt a
    WHERE a.phone = {phone} AND a.kind = 'campaign' AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => {hours} + 1)
      AND greatest(a.created_at, a.called_at, a.accepted_at)
          > CAST(:now AS timestamptz) - make_interval(hours => {hours})))"""
"""SQL condition that the number has got as many messages in a period as a limit allows.

The time of a message is the latest of ``created_at``, ``called_at`` and ``accepted_at``. Only
``created_at`` is in the index. So that the index is used, the SQL also requires that ``created_at``
is in the period, or at most one hour before the period. This excludes no message of the period: the
time of a message is at most one hour after its ``created_at``."""

WAS_MESSAGED_BEFORE = """(
    EXISTS (
        SELECT 1 FROM campaign_membership p
        WHERE p.phone = {phone} AND p.sent_at IS NOT NULL {each})
    OR EXISTS (
        SELECT 1 FROM contact d JOIN campaign_membership p ON p.phone = d.phone
        WHERE d.merged_into = {contact} AND p.sent_at IS NOT NULL {each})
    OR EXISTS (
        SELECT 1 FROM activity t
        WHERE t.contact_id = {contact} AND t.kind = 'message' AND t.direction = 'outgoing'
          AND t.origin IN ('manual', 'provider') {each}))"""
"""SQL condition that the person has already been sent a message.

There are two cases. (1) A campaign has sent a message to the number, or to the number of another
contact that was merged into the person's contact. (2) An employee has sent the contact a message,
in this service or in the provider's app.

The placeholder ``each`` is empty or ``OFFSET 0``. ``OFFSET 0`` forces one index look-up per person
where the planner would otherwise scan whole tables.
"""

WAS_IN_TOUCH = f"""(
    {WAS_MESSAGED_BEFORE}
    OR EXISTS (
        SELECT 1 FROM activity t
        WHERE t.contact_id = {{contact}} AND (t.kind = 'call' OR t.direction = 'incoming')
        {{each}}))"""
"""SQL condition that the person and the company were in touch before.

The company sent the person a message, the person sent the company a message, or there was a call.
The placeholders are those of ``WAS_MESSAGED_BEFORE``.
"""

WAS_CONTACTED = f"""(
    m.step = 0 AND m.approved_at IS NULL
    AND ({has_flag("recently_texted", phone="m.phone")}
         OR {WAS_MESSAGED_BEFORE.format(phone="m.phone", contact="m.contact_id", each="")}))"""
"""SQL condition that recipient ``m`` was contacted before and is not approved in the review.

The condition is false for follow-ups (``m.step > 0``).
"""
