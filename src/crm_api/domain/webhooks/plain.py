"""Texts of the past that leave nothing but a row: applied many at once, as an import needs it.

One at a time, a text asks half a dozen questions, whose answers are known beforehand for most of a
history: nobody's campaign texted the number, it asks for nothing, and it is too old for an answer.
Everything else goes through ``service.apply_event``, and a plain text may as well.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import history
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.history import PastText
from crm_api.domain.activity.models import Direction
from crm_api.domain.consent import off_limits, words
from crm_api.domain.consent.words import Kind
from crm_api.domain.lines import service as lines
from crm_api.domain.openphone.facts import MessageFacts
from crm_api.domain.sends.reports import RANKS
from crm_api.domain.webhooks.reception import Reception

PAST_AFTER = timedelta(days=4)
"""Older than any answer that a text could get, and than the window in which it is a reply."""


async def apply_plain(
    uow: UnitOfWork, texts: Sequence[MessageFacts], *, now: datetime, reception: Reception
) -> set[str]:
    """Apply those of these texts that are plain, with a handful of statements for all.

    Plain is a text of the past with one person, without pictures, that is not about consent, with
    somebody who was never texted from here and whose data was never erased.

    Returns:
        The provider's ids of those that were stored; the others are for ``apply_event``.
    """
    found = [(facts, _person_of(facts)) for facts in texts if now - facts.created_at > PAST_AFTER]
    people = [(facts, phone) for facts, phone in found if phone is not None]
    gone = await off_limits.erased_since(
        uow.session, {phone for _, phone in people}, secret=reception.secret
    )
    people = [(facts, phone) for facts, phone in people if phone not in gone]
    if not people:
        return set()
    known = await history.look(uow, phones=sorted({phone for _, phone in people}))
    line_ids = await _lines_of(uow, [facts for facts, _ in people], now=now, reception=reception)
    plain = [
        PastText(
            facts=facts,
            line_id=line_id,
            phone=phone,
            rank=0 if facts.direction == Direction.INCOMING else _rank(facts),
        )
        for facts, phone in people
        for row, line_id in [(known[phone], line_ids.get(facts.phone_number_id or ""))]
        if line_id is not None and not (row.is_deleted or row.was_texted or row.is_own)
    ]
    if not plain:
        return set()
    return await history.store(uow, plain, known=known, now=now)


async def _lines_of(
    uow: UnitOfWork, texts: Sequence[MessageFacts], *, now: datetime, reception: Reception
) -> dict[str, UUID]:
    """Find the lines of plain texts by the provider's ids; one that is not known is added."""
    own = {
        facts.phone_number_id: facts.to_numbers[0]
        if facts.direction == Direction.INCOMING
        else facts.from_number
        for facts in texts
        if facts.phone_number_id is not None
    }
    found = {}
    for name, number in sorted(own.items()):
        line = await lines.ensure_line(
            uow,
            phone_number_id=name,
            number=activity.as_phone(number or ""),
            resend_unclear=reception.resend_unclear,
            now=now,
        )
        if line is not None:
            found[name] = line.id
    return found


def _person_of(facts: MessageFacts) -> str | None:
    """Return the number of the one person that a text is with; None when it is not plain."""
    if facts.media or len(facts.to_numbers) != 1:
        return None
    if facts.direction == Direction.INCOMING:
        if words.read(facts.text).kind is not Kind.NONE:
            return None
        return activity.as_phone(facts.from_number or "")
    phone = activity.as_phone(facts.to_numbers[0])
    return phone if phone == facts.to_numbers[0] else None


def _rank(facts: MessageFacts) -> int:
    return RANKS.get(facts.status, RANKS["sent"])
