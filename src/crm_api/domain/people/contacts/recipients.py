"""SQL that updates campaign recipients when their contact changes.

The contact may be deleted, or may get a new phone number or a new zone key.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.sends import derive
from crm_api.domain.messaging.sends import withdraw as sends


def _add_zones_of(statuses: str) -> str:
    """Return SQL that adds the zone keys of contacts to their campaigns.

    A message is planned only if its recipient's zone key is in ``campaign.zone_keys``. The
    statement locks campaigns. Run it before the recipients are locked: other code also locks
    campaigns first, and another order could cause a deadlock.

    Args:
        statuses: An SQL list of the statuses of recipients, such as ``'sending', 'unknown'``.
    """
    return f"""
        UPDATE campaign c
        SET zone_keys = ARRAY(SELECT DISTINCT z FROM unnest(c.zone_keys || mine.places) AS z)
        FROM (
            SELECT k.id, place.zone_keys AS places
            FROM campaign k JOIN (
                SELECT m.campaign_id, array_agg(DISTINCT p.zone_key) AS zone_keys
                FROM campaign_membership m JOIN contact p ON p.phone = m.phone
                WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.zone_key <> p.zone_key
                  AND m.status IN ({statuses})
                GROUP BY m.campaign_id
            ) place ON place.campaign_id = k.id
            ORDER BY k.id FOR NO KEY UPDATE OF k
        ) mine
        WHERE c.id = mine.id AND NOT c.zone_keys @> mine.places
    """


# Most contacts of an import have no recipients to change. So only this statement gets all numbers.
_FIND_LIVE = text("""
    SELECT DISTINCT m.phone FROM campaign_membership m
    WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.status = ANY(CAST(:statuses AS text[]))
""")
_ADD_ZONES_OF = text(_add_zones_of("'pending', 'review', 'held', 'sending', 'unknown'"))
_COPY_ZONE_KEYS = text("""
    UPDATE campaign_membership m SET zone_key = p.zone_key, updated_at = :now
    FROM contact p
    WHERE p.phone = ANY(CAST(:phones AS text[])) AND m.phone = p.phone
      AND m.zone_key <> p.zone_key AND m.status = ANY(CAST(:statuses AS text[]))
""")
_WAITING = ["pending", "review", "held"]
_UNDER_WAY = ["sending", "unknown"]


async def copy_zone_keys(session: AsyncSession, *, phones: Sequence[str], now: datetime) -> None:
    """Copy the zone keys of contacts to their campaign recipients.

    Only recipients whose message waits, is being sent, or was perhaps sent get the key. A reserved
    message is released, because it was reserved for the hours of the old zone key. It waits again.

    A recipient that another transaction stores at the same time is not found. The claim gives such
    a recipient the zone key of its contact.

    Args:
        phones: The present numbers of the contacts. The recipients are found by these numbers.
    """
    statuses = _WAITING + _UNDER_WAY
    found = await session.scalars(_FIND_LIVE, {"phones": list(phones), "statuses": statuses})
    if not (live := list(found)):
        return
    values = {"phones": live, "now": now}
    await session.execute(_ADD_ZONES_OF, {"phones": live})
    await session.execute(_COPY_ZONE_KEYS, values | {"statuses": _WAITING})
    # Other transactions also lock waiting recipients, then attempts, then the recipients of these
    # attempts. Another order could cause a deadlock.
    freed = await sends.release_campaign_attempts(session, phones=live, now=now)
    await session.execute(_COPY_ZONE_KEYS, values | {"statuses": _UNDER_WAY})
    await derive.derive_recipients(session, membership_ids=freed, now=now)


# The campaigns are locked before their recipients, as in ``_add_zones_of``, so that two
# transactions cannot deadlock.
_ADD_ZONES = text("""
    UPDATE campaign c SET zone_keys = array_append(c.zone_keys, :zone_key)
    FROM (
        SELECT k.id FROM campaign k
        WHERE k.id IN (
            SELECT m.campaign_id FROM campaign_membership m
            WHERE m.phone = :old_phone AND m.contact_id = :contact_id
              AND m.status IN ('pending', 'review', 'held', 'sending', 'unknown'))
        ORDER BY k.id FOR NO KEY UPDATE
    ) mine
    WHERE c.id = mine.id AND NOT c.zone_keys @> ARRAY[CAST(:zone_key AS text)]
""")


_FOLLOW = text("""
    UPDATE campaign_membership m
    SET phone = CASE WHEN d.is_twin THEN m.phone ELSE :phone END,
        zone_key = CASE WHEN d.is_twin THEN m.zone_key ELSE :zone_key END,
        status = CASE WHEN d.is_twin THEN 'skipped' ELSE m.status END,
        skip_reason = CASE WHEN d.is_twin THEN 'duplicate_number' ELSE m.skip_reason END,
        updated_at = :now
    FROM (
        SELECT w.id, EXISTS (
            SELECT 1 FROM campaign_membership t
            WHERE t.campaign_id = w.campaign_id AND t.step = w.step AND t.phone = :phone
              AND t.id <> w.id) AS is_twin
        FROM campaign_membership w
        WHERE w.phone = :old_phone AND w.contact_id = :contact_id
          AND w.status IN ('pending', 'review', 'held')
    ) d
    WHERE m.id = d.id AND m.status IN ('pending', 'review', 'held')
""")


# An attempt whose request may have begun keeps the old phone number. If its message was not sent,
# the recipient waits again, now with the new number and zone key (the states and time zones in
# which the person may live). The next step of the campaign also uses the new number and zone key.
_FOLLOW_UNDER_WAY = text("""
    UPDATE campaign_membership m
    SET phone = CASE WHEN EXISTS (
            SELECT 1 FROM campaign_membership t
            WHERE t.campaign_id = m.campaign_id AND t.step = m.step AND t.phone = :phone
              AND t.id <> m.id) THEN m.phone ELSE :phone END,
        zone_key = :zone_key, updated_at = :now
    WHERE m.phone = :old_phone AND m.contact_id = :contact_id
      AND m.status IN ('sending', 'unknown')
""")


# Locks the contact's recipients and the skipped recipients with the new number, so that the next
# statements decide about the same rows.
_LOCK_BOTH = text("""
    SELECT m.id FROM campaign_membership m
    WHERE m.phone = :old_phone AND m.contact_id = :contact_id
        AND m.status = ANY(CAST(:statuses AS text[]))
      OR m.phone = :phone AND m.status = 'skipped'
    ORDER BY m.id FOR NO KEY UPDATE
""")


# A recipient with the new number can have the status `skipped`, because its contact was deleted or
# because it is a duplicate. If none of its attempts passed the gate, it must not stop the contact's
# own message. So both recipients swap their numbers. Until then, a placeholder keeps the numbers of
# the step unique.
_FREE_NUMBER = text("""
    UPDATE campaign_membership t SET phone = 'changing ' || t.id, updated_at = :now
    FROM campaign_membership w
    WHERE w.phone = :old_phone AND w.contact_id = :contact_id
      AND w.status = ANY(CAST(:statuses AS text[]))
      AND w.id = ANY(CAST(:locked AS uuid[])) AND t.id = ANY(CAST(:locked AS uuid[]))
      AND t.campaign_id = w.campaign_id AND t.step = w.step AND t.phone = :phone AND t.id <> w.id
      AND t.status = 'skipped'
      AND t.skip_reason IN ('contact_deleted', 'merged', 'duplicate_number')
      AND NOT EXISTS (
          SELECT 1 FROM send_attempt a WHERE a.membership_id = t.id AND a.called_at IS NOT NULL)
    RETURNING t.id
""")
_GIVE_OLD_NUMBER = text("""
    UPDATE campaign_membership t SET phone = :old_phone WHERE t.id = ANY(CAST(:ids AS uuid[]))
""")


async def move_recipients(
    session: AsyncSession,
    *,
    contact_id: UUID,
    old_phone: str,
    phone: str,
    zone_key: str,
    now: datetime,
) -> None:
    """Copy a contact's new phone number and zone key to the contact's campaign recipients.

    The function changes only recipients whose message waits, is being sent, or was perhaps sent. A
    reserved message is released, because it was reserved for the old number and zone key. It waits
    again.

    If another recipient of the same step already has the new number, the contact's recipient keeps
    the old number. There is one exception: if the other recipient is skipped as a duplicate or
    because its contact was deleted, and none of its attempts passed the gate, both recipients swap
    their numbers.

    If the contact's recipient keeps the old number, one of two things happens:

    - If the message waits, the message is skipped (``duplicate_number``), and the zone key of the
      recipient does not change.
    - If the message does not wait, the recipient gets the new zone key.
    """
    values = {
        "contact_id": contact_id,
        "old_phone": old_phone,
        "phone": phone,
        "zone_key": zone_key,
    }
    await session.execute(
        _ADD_ZONES, {name: value for name, value in values.items() if name != "phone"}
    )
    swapped = await _free_number(session, values, _WAITING, now=now)
    await session.execute(_FOLLOW, values | {"now": now})
    # The order of the locks is that of ``copy_zone_keys``.
    freed = await sends.release_campaign_attempts(session, phones=[old_phone], now=now)
    swapped += await _free_number(session, values, _UNDER_WAY, now=now)
    await session.execute(_FOLLOW_UNDER_WAY, values | {"now": now})
    # The new number decides the status, so it is derived only now. A released recipient that could
    # not get the new number waits under the old number, and is skipped.
    await derive.derive_recipients(session, membership_ids=freed, now=now)
    # While this function waited, a recorded response may have made a recipient wait again.
    swapped += await _free_number(session, values, _WAITING, now=now)
    await session.execute(_FOLLOW, values | {"now": now})
    if swapped:
        await session.execute(_GIVE_OLD_NUMBER, {"old_phone": old_phone, "ids": swapped})


async def _free_number(
    session: AsyncSession,
    values: Mapping[str, Any],
    statuses: Sequence[str],
    *,
    now: datetime,
) -> list[UUID]:
    """Take the new number from skipped recipients that would stop the contact's recipients.

    Args:
        values: The values of ``move_recipients``.
        statuses: The statuses of the contact's recipients that get the number.

    Returns:
        The ids of the skipped recipients. The caller must give them another number.
    """
    if values["phone"] == values["old_phone"]:
        return []
    chosen = {name: values[name] for name in ("contact_id", "old_phone", "phone")}
    chosen["statuses"] = list(statuses)
    locked = list(await session.scalars(_LOCK_BOTH, chosen))
    return list(await session.scalars(_FREE_NUMBER, chosen | {"locked": locked, "now": now}))


# The last condition of this statement is always true. It makes PostgreSQL lock the campaigns before
# their recipients.
_SKIP_DELETED = text(f"""
    WITH zoned AS ({_add_zones_of("'sending', 'unknown'")} RETURNING c.id
    ), under_way AS (
        UPDATE campaign_membership m SET zone_key = p.zone_key, updated_at = :now
        FROM contact p
        WHERE p.phone = ANY(CAST(:phones AS text[])) AND m.phone = p.phone
          AND m.zone_key <> p.zone_key AND m.status IN ('sending', 'unknown')
    )
    UPDATE campaign_membership
    SET status = 'skipped', skip_reason = 'contact_deleted', updated_at = :now
    WHERE phone = ANY(CAST(:phones AS text[])) AND status IN ('pending', 'review', 'held')
      AND (SELECT count(*) FROM zoned) >= 0
""")


async def skip_deleted_recipients(
    session: AsyncSession, *, phones: Collection[str], now: datetime
) -> None:
    """Skip waiting campaign messages to these phone numbers; the contacts were deleted.

    A message that is being sent, or was perhaps sent, stays. Its recipient gets the contact's zone
    key, which the caller has already written.
    """
    await session.execute(_SKIP_DELETED, {"phones": list(phones), "now": now})
