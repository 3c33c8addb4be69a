"""Decide when the law allows a message outside campaigns, such as a user's message or a reminder.

A test message or a reminder is *unasked*: it must keep the legal hours, even if the person has
written to the line before.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent.legal_rules.rules import FOREVER, RuleBook
from crm_api.domain.kit.zones import join_zone_keys, zone_key_of
from crm_api.platform.database import UnitOfWork, typed_row

# Three SQL columns:
#
# 1. The zone key (the states and time zones in which the person may live) of the contact with the
#    number. If the number belongs to a duplicate that was merged into a contact, it is the zone key
#    of this contact.
# 2. The address and the time zone of this contact, if the number belongs to such a duplicate. The
#    area code of the number also counts, and the zone key of the contact does not have it.
# 3. True if the person has ever sent a message to the line, so that our message is an answer.
NUMBER_ZONE = """
    (SELECT h.zone_key FROM contact p JOIN contact h ON h.id = coalesce(p.merged_into, p.id)
     WHERE p.phone = {phone} AND h.deleted_at IS NULL) AS zone_key,
    (SELECT jsonb_build_object('timezone', h.timezone, 'state', h.state,
            'postal_code', h.postal_code, 'attributes', h.attributes)
     FROM contact p JOIN contact h ON h.id = p.merged_into
     WHERE p.phone = {phone} AND h.deleted_at IS NULL) AS merged_place,
    EXISTS (
        SELECT 1 FROM conversation k JOIN activity i ON i.conversation_id = k.id
        WHERE k.line_id = {line_id} AND k.phone = {phone}
          AND i.kind = 'message' AND i.direction = 'incoming') AS has_written"""

READ_NUMBER_ZONE = text(f"""
    SELECT CAST(:phone AS text) AS phone,
           {NUMBER_ZONE.format(line_id=":line_id", phone="CAST(:phone AS text)")}
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberZone:
    """A phone number with the facts that decide at which hours it may legally get a message.

    An instance is a row of a query that selects the number and the columns of ``NUMBER_ZONE``.

    Attributes:
        phone: The number in E.164.
        zone_key: The zone key of the contact; None if no contact has the number.
        merged_place: If the number belongs to a merged duplicate: the columns of the contact that
            decide about its zone key. Otherwise None.
        has_written: True if the person has ever sent a message to the line.
    """

    phone: str
    zone_key: str | None
    merged_place: dict[str, Any] | None
    has_written: bool


@dataclass(frozen=True, kw_only=True)
class LegalHours:
    """When the law allows a message to a number, for messages outside campaigns.

    Attributes:
        not_after: The latest instant at which the request may end; None for no limit. Only valid if
            ``is_open`` is True.
        opens_at: When the message may be sent; None if no instant within two weeks is legal. Only
            valid if ``is_open`` is False.
    """

    is_open: bool
    not_after: datetime | None = None
    opens_at: datetime | None = None


async def read_legal_hours(
    uow: UnitOfWork,
    *,
    line_id: UUID,
    phone: str,
    rules: RuleBook,
    now: datetime,
    is_unasked: bool = False,
) -> LegalHours:
    """Return whether and when the law allows a message to a number, for messages outside campaigns.

    If the person has ever sent a message to the line, a message may be sent at any hour.

    Args:
        is_unasked: True for a test message or a reminder. Such a message must always keep the legal
            hours.
    """
    zone = await _read_zone(uow, line_id=line_id, phone=phone)
    return hours_of(zone, rules=rules, is_unasked=is_unasked, now=now)


# Selects when a number may get a test message again. There is a result only if the number has had
# as many messages as the law allows (`most`). The newest `most` campaign and test messages are
# compared. The number may get a test message when the oldest of these messages is older than the
# legal period.
UNASKED_ALLOWED_AT = text("""
    SELECT a.until FROM (
        SELECT greatest(a.created_at, a.called_at, a.accepted_at)
                   + make_interval(hours => :hours) AS until
        FROM send_attempt a
        WHERE a.phone = :phone AND a.kind IN ('campaign', 'test')
          AND a.status NOT IN ('released', 'refused')
          AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => :hours + 1)
        ORDER BY until DESC OFFSET :most - 1 LIMIT 1
    ) a WHERE a.until > CAST(:now AS timestamptz)
""")


async def find_unasked_allowed_at(
    uow: UnitOfWork, *, line_id: UUID, phone: str, rules: RuleBook, now: datetime
) -> datetime | None:
    """Return the time from which the legal frequency limit allows an unasked message.

    The law may limit how many messages a number gets in a period. The result is None if the
    message is allowed now.
    """
    zone = await _read_zone(uow, line_id=line_id, phone=phone)
    cap = rules.frequency_cap(zone_key_of_number(zone), now)
    if cap is None:
        return None
    until: datetime | None = await uow.session.scalar(
        UNASKED_ALLOWED_AT, {"phone": phone, "most": cap.texts, "hours": cap.hours, "now": now}
    )
    return until


async def _read_zone(uow: UnitOfWork, *, line_id: UUID, phone: str) -> NumberZone:
    found = await uow.session.execute(READ_NUMBER_ZONE, {"line_id": line_id, "phone": phone})
    return typed_row(NumberZone, found.one())


def hours_of(
    number: NumberZone, *, rules: RuleBook, now: datetime, is_unasked: bool = False
) -> LegalHours:
    """Return whether and when the law allows a message to a phone number.

    If the person has written to the line before, the law allows a message at any hour.

    Args:
        is_unasked: True for a test message or a reminder. Such a message must always keep the legal
            hours.
    """
    if number.has_written and not is_unasked:
        return LegalHours(is_open=True)
    key = zone_key_of_number(number)
    closes_at = rules.open_until(key, now)
    if closes_at is None:
        return LegalHours(is_open=False, opens_at=rules.next_open(key, now))
    return LegalHours(is_open=True, not_after=None if closes_at == FOREVER else closes_at)


def zone_key_of_number(number: NumberZone) -> str:
    """Return the states and time zones of a phone number, as one text (the zone key).

    The person with this number may live in these states and time zones. The zone key is that of the
    contact with the number. But if no contact has the number, the area code decides. If the number
    belongs to a merged duplicate, the states and time zones of its area code are added to those of
    the contact.
    """
    key = number.zone_key or zone_key_of({"phone": number.phone})
    if number.merged_place is None:
        return key
    return join_zone_keys(key, zone_key_of({**number.merged_place, "phone": number.phone}))
