"""Skip the recipients who get no message because of a holdout.

A holdout measures the effect of messages: a part of the people gets none. A keyed hash of the phone
number decides who belongs to this part. The recipients are skipped when a worker claims (reserves)
them.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.holdouts import HoldoutScope
from crm_api.domain.messaging.sends import derive
from crm_api.domain.messaging.sends.claim_order import DueRecipient
from crm_api.domain.messaging.sends.number_rules import WAS_CONTACTED
from crm_api.domain.messaging.sends.vocabulary import SkipReason
from crm_api.platform.database import typed_row

_HASH_BYTES = 8
_PERCENT = 100


def is_held_out(phone: str, *, hash_key: bytes, percent: int) -> bool:
    """Return whether a number belongs to the held-out group, which gets no message.

    The result depends only on the arguments. So it stays the same if the number is imported
    again, or if contacts are merged.

    Args:
        percent: The size of the held-out group, in percent of all numbers.
    """
    digest = hmac.digest(hash_key, phone.encode(), "sha256")
    share = int.from_bytes(digest[:_HASH_BYTES], "big")
    return share * _PERCENT < percent << (8 * _HASH_BYTES)


@dataclass(frozen=True, slots=True)
class _RunningHoldout:
    id: UUID
    percent: int
    scope: str
    hash_key: bytes


RUNNING = text("""
    SELECT h.id, h.percent, h.scope, h.hash_key FROM holdout h
    WHERE h.starts_at <= :now AND h.ends_at > :now
    ORDER BY h.starts_at, h.id LIMIT 1
""")
COLD = text(f"""
    SELECT m.id FROM campaign_membership m
    WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.approved_at IS NULL AND NOT {WAS_CONTACTED}
""")
# If the person is already in a group of the holdout, this statement changes nothing.
ASSIGN = text("""
    INSERT INTO holdout_person (holdout_id, contact_id, is_held, assigned_at)
    SELECT :holdout_id, x.contact_id, x.is_held, :now
    FROM unnest(CAST(:contact_ids AS uuid[]), CAST(:are_held AS boolean[]))
        AS x (contact_id, is_held)
    ON CONFLICT DO NOTHING
""")


async def hold_out(
    session: AsyncSession, due: Sequence[DueRecipient], *, now: datetime
) -> Sequence[DueRecipient]:
    """Return the recipients who may get their message; skip those in the held-out group.

    The holdout applies only to the first message of a campaign. The group of each person to whom
    the holdout applies is stored, so that the groups can be compared later.
    """
    found = typed_row(_RunningHoldout, (await session.execute(RUNNING, {"now": now})).one_or_none())
    if found is None:
        return due
    counted = {one.id: one for one in due if one.step == 0}
    if counted and found.scope == HoldoutScope.COLD:
        cold = set(await session.scalars(COLD, {"ids": list(counted), "now": now}))
        counted = {one: counted[one] for one in counted if one in cold}
    if not counted:
        return due
    held = {
        one.id
        for one in counted.values()
        if is_held_out(one.phone, hash_key=found.hash_key, percent=found.percent)
    }
    assigned = {
        "holdout_id": found.id,
        "contact_ids": [one.contact_id for one in counted.values()],
        "are_held": [one.id in held for one in counted.values()],
        "now": now,
    }
    await session.execute(ASSIGN, assigned)
    if held:
        await derive.skip_recipients(
            session, membership_ids=sorted(held), reason=SkipReason.HOLDOUT, now=now
        )
    return [one for one in due if one.id not in held]
