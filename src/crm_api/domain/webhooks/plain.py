"""Texts of the past that leave nothing but a row: applied many at once, as an import needs it.

One at a time, a text asks half a dozen questions, whose answers are known beforehand for most of a
history: nobody's campaign texted the number, it asks for nothing, and it is too old for an answer.
Everything else goes through ``service.apply_event``, and a plain text may as well.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.activity import history
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.history import PastText
from crm_api.domain.activity.models import Direction
from crm_api.domain.consent import words
from crm_api.domain.consent.words import Kind
from crm_api.domain.lines import service as lines
from crm_api.domain.openphone.facts import MessageFacts
from crm_api.domain.sends.reports import RANKS

PAST_AFTER = timedelta(days=4)
"""Older than any answer that a text could get, and than the window in which it is a reply."""


async def apply_plain(uow: UnitOfWork, texts: Sequence[MessageFacts], *, now: datetime) -> set[str]:
    """Apply those of these texts that are plain, with a handful of statements for all.

    Plain is a text of the past with one person, without pictures, on a known line, that is not
    about consent, with somebody who was never texted from here.

    Returns:
        The provider's ids of those that were stored; the others are for ``apply_event``.
    """
    found = [(facts, _person_of(facts)) for facts in texts if now - facts.created_at > PAST_AFTER]
    people = [(facts, phone) for facts, phone in found if phone is not None]
    if not people:
        return set()
    known = await history.look(uow, phones=sorted({phone for _, phone in people}))
    line_ids = {
        name: line.id
        for name in {facts.phone_number_id for facts, _ in people}
        if name is not None
        and (line := await lines.find_by_provider_id(uow, phone_number_id=name)) is not None
    }
    plain = [
        PastText(
            facts=facts,
            line_id=line_ids[facts.phone_number_id],
            phone=phone,
            rank=0 if facts.direction == Direction.INCOMING else _rank(facts),
        )
        for facts, phone in people
        for row in [known[phone]]
        if facts.phone_number_id in line_ids
        and not (row.is_deleted or row.was_texted or row.is_own)
    ]
    if not plain:
        return set()
    return await history.store(uow, plain, known=known, now=now)


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
