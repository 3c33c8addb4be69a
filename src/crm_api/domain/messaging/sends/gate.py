"""The gate (the last check before the request to the provider), and the release of attempts.

The gate checks attempts that a worker has reserved. A released attempt is not sent.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from crm_api.domain.messaging.sends import derive
from crm_api.domain.messaging.sends.claim_order import RETRY_CLAIM_AFTER, ClaimedAttempt
from crm_api.domain.messaging.sends.number_rules import (
    CODE_OF_RULE,
    FOLLOW_UP_ENDED,
    may_get_of,
    stopping_rule_of,
)
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.waiting import derive_waiting_of_attempts
from crm_api.platform.database import UnitOfWork

# `ends_at` is the latest instant at which a request can end if its attempt passes this gate (the
# last check before the call of the provider) now. A report or a look-up may have settled or parked
# an earlier attempt of the recipient while another transaction claimed (reserved) this attempt.
# Then this attempt must not be sent: the person has the message or may have it, or the provider has
# reported a failure.
PASS_GATE = text(f"""
    UPDATE send_attempt a
    SET status = 'calling', called_at = :now, lease_until = :lease_until, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS x (id, token), line l
    WHERE a.id = x.id AND a.token = x.token AND a.called_at IS NULL AND a.lease_until > :now
      AND l.id = a.line_id AND l.status = 'active'
      AND (a.not_after IS NULL OR a.not_after >= :ends_at)
      AND (a.campaign_id IS NULL OR EXISTS (
          SELECT 1 FROM campaign c WHERE c.id = a.campaign_id AND c.status = 'running'
            AND (c.follow_ups = '[]' OR NOT {FOLLOW_UP_ENDED.format(member="a.membership_id")})))
      AND NOT EXISTS (
          SELECT 1 FROM send_attempt o
          WHERE o.membership_id = a.membership_id AND o.id <> a.id
            AND o.status IN ('sent', 'failed', 'delivered', 'parked'))
      AND NOT EXISTS (
          SELECT 1 FROM send_attempt o
          WHERE a.membership_id IS NULL AND o.phone = a.phone
            AND o.activity_id = a.activity_id AND o.id <> a.id
            AND o.status IN ('sent', 'failed', 'delivered', 'parked') OFFSET 0)
      AND {may_get_of("a.kind", phone="a.phone")}
    RETURNING a.id
""")


async def pass_gate(
    uow: UnitOfWork, batch: Sequence[ClaimedAttempt], *, times: SendTimes, now: datetime
) -> list[ClaimedAttempt]:
    """Check claimed (reserved) attempts for the last time, and return those that may be sent.

    The returned attempts get the status ``calling``. The caller first commits, and then sends their
    requests to the provider. The caller releases the claims of all other attempts.
    """
    values = {
        "ids": [item.attempt_id for item in batch],
        "tokens": [item.token for item in batch],
        "lease_until": now + times.lease,
        "ends_at": now + times.call,
        "now": now,
    }
    passed = set((await uow.session.scalars(PASS_GATE, values)).all())
    return [item for item in batch if item.attempt_id in passed]


# Locks the conversations of the claimed messages that users wrote. Each transaction must lock a
# conversation before it locks the messages and attempts of the conversation. Otherwise two
# transactions could deadlock.
LOCK_CONVERSATIONS = text("""
    SELECT k.id FROM send_attempt a JOIN activity t ON t.id = a.activity_id
    JOIN conversation k ON k.id = t.conversation_id
    WHERE a.id = ANY(CAST(:ids AS uuid[])) AND a.kind = 'manual'
    ORDER BY k.line_id, k.phone FOR NO KEY UPDATE OF k
""")

# A message of a campaign has no `send_after`, because the recipient's `due_at` decides when it is
# sent. A report may have proved that an earlier attempt of the message arrived. Then the message
# is not `sending` any more, and its status does not change.
RELEASE = text(f"""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = :reason,
            updated_at = :now
        FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS x (id, token)
        WHERE a.id = x.id AND a.token = x.token AND a.called_at IS NULL
        RETURNING a.id, a.membership_id, a.activity_id, a.kind = 'campaign' AS is_campaign,
                  CASE WHEN a.kind <> 'campaign'
                       THEN {stopping_rule_of("a.kind", phone="a.phone")} END AS rule
    ), shown AS (
        UPDATE activity t
        SET status = CASE WHEN f.rule IS NULL THEN 'queued' ELSE 'failed' END,
            error_code = {CODE_OF_RULE.format(rule="f.rule")},
            send_after = CASE WHEN NOT f.is_campaign THEN CAST(:send_after AS timestamptz) END,
            updated_at = :now
        FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
    )
    SELECT id, membership_id, rule IS NOT NULL AS is_stopped FROM freed
""")


async def release_claims(
    uow: UnitOfWork, batch: Sequence[ClaimedAttempt], *, reason: str, now: datetime
) -> None:
    """Release claimed (reserved) attempts for which no request was sent yet.

    The messages can be claimed again. Exception: A message outside campaigns fails if a rule now
    forbids messages to its number.

    The released attempts need no look-up at the provider. They do not count towards the number of
    attempts for a message.
    """
    alone = [item.attempt_id for item in batch if item.membership_id is None]
    if alone:
        await uow.session.execute(LOCK_CONVERSATIONS, {"ids": alone})
    result = await uow.session.execute(
        RELEASE,
        {
            "ids": [item.attempt_id for item in batch],
            "tokens": [item.token for item in batch],
            "reason": reason,
            "send_after": now + RETRY_CLAIM_AFTER,
            "now": now,
        },
    )
    released = result.all()
    memberships = [row.membership_id for row in released if row.membership_id is not None]
    await derive.derive_recipients(uow.session, membership_ids=memberships, now=now)
    stopped = [row.id for row in released if row.is_stopped]
    await derive_waiting_of_attempts(uow.session, stopped, now=now)
