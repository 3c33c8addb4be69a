"""Store many old messages together, so that an import of the history is fast.

Only plain messages are stored in this way: they cause no automatic reply and no change of consent
(see ``apply_plain_messages``). All other messages must go through ``service.apply_event``, which
runs about six queries per message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.domain.consent.reply_reader.reader import Reading, read_past_replies
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.messaging.consent_decisions import erased_numbers
from crm_api.domain.messaging.conversations import past_messages
from crm_api.domain.messaging.conversations.participants import as_phone
from crm_api.domain.messaging.conversations.past_messages import PastMessage
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.messaging.sends.report import RANKS
from crm_api.domain.provider.openphone.facts import MessageFacts, bound_message
from crm_api.platform.database import UnitOfWork

PAST_AFTER = timedelta(days=4)
"""A message that is older than this gets no automatic reply and is not treated as a reply to a
campaign message."""


async def apply_plain_messages(
    uow: UnitOfWork, texts: Sequence[MessageFacts], *, now: datetime, apply_settings: ApplySettings
) -> set[str]:
    """Store the plain messages in ``texts``, with a few statements.

    A message is plain if it meets all these conditions:

    - It is older than ``PAST_AFTER``, has no media, and is not about consent.
    - Its line is stored, or can be added now.
    - It was sent to exactly one number.
    - The person's number is valid, and not one of our lines.
    - This service never tried to send a message to the person.
    - The person is not a deleted contact, and was never erased.

    Args:
        now: The database's time of this transaction, used as the time of receipt.

    Returns:
        The provider's ids of the stored messages. Pass the other messages to ``apply_event``.
    """
    bounded = [bound_message(facts, received_at=now) for facts in texts]
    past = [facts for facts in bounded if now - facts.created_at > PAST_AFTER]
    found = [(facts, phone) for facts in past if (phone := _person_of(facts)) is not None]
    people = _without_consent(found)
    await erased_numbers.wait_for_erasures(uow.session, {one.phone for one in people})
    gone = await erased_numbers.erased_since(
        uow.session, {one.phone for one in people}, secret=apply_settings.secret
    )
    people = [one for one in people if one.phone not in gone]
    if not people:
        return set()
    known = await past_messages.lock_known_numbers(
        uow, phones=sorted({one.phone for one in people})
    )
    line_ids = await _lines_of(
        uow, [one.facts for one in people], now=now, apply_settings=apply_settings
    )
    plain = [
        PastMessage(
            facts=one.facts,
            line_id=line_id,
            phone=one.phone,
            rank=0 if _is_received(one.facts) else _rank(one.facts),
            reading=one.reading,
        )
        for one in people
        for row, line_id in [(known[one.phone], line_ids.get(one.facts.phone_number_id or ""))]
        if line_id is not None and not (row.is_deleted or row.was_texted or row.is_own)
    ]
    if not plain:
        return set()
    return await past_messages.store_past_messages(uow, plain, known=known, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A message that does not concern consent.

    Attributes:
        phone: The phone number of the person who sent or received the message.
        reading: What the reply reader (the code that classifies replies) found out about the
            message; None for a message that we sent.
    """

    facts: MessageFacts
    phone: str
    reading: Reading | None


def _without_consent(texts: Sequence[tuple[MessageFacts, str]]) -> list[_Read]:
    """Return the messages that do not concern consent, each with the person's phone number.

    The earlier messages of a conversation may not be stored yet. So the reply reader (the code that
    classifies replies) reads each received message several times: without an earlier message, and
    as a reply to different kinds of messages. If one of the readings concerns consent, the message
    is left out.
    """
    readings = iter(read_past_replies([facts.text for facts, _ in texts if _is_received(facts)]))
    found = []
    for facts, phone in texts:
        reading = next(readings) if _is_received(facts) else None
        if reading is not None or not _is_received(facts):
            found.append(_Read(facts=facts, phone=phone, reading=reading))
    return found


def _is_received(facts: MessageFacts) -> bool:
    return facts.direction == Direction.INCOMING


async def _lines_of(
    uow: UnitOfWork, texts: Sequence[MessageFacts], *, now: datetime, apply_settings: ApplySettings
) -> dict[str, UUID]:
    """Map the provider's line ids in these messages to our line ids; add unknown lines."""
    own = {
        facts.phone_number_id: facts.to_numbers[0] if _is_received(facts) else facts.from_number
        for facts in texts
        if facts.phone_number_id is not None
    }
    found = {}
    for name, number in sorted(own.items()):
        line = await lines.ensure_line(
            uow,
            phone_number_id=name,
            number=as_phone(number or ""),
            resend_unclear=apply_settings.resend_unclear,
            now=now,
        )
        if line is not None:
            found[name] = line.id
    return found


def _person_of(facts: MessageFacts) -> str | None:
    """Return the person's phone number; None if it is not valid or the message cannot be plain.

    A plain message has no media and was sent to exactly one number (see ``apply_plain_messages``).
    """
    if facts.media or len(facts.to_numbers) != 1:
        return None
    if _is_received(facts):
        return as_phone(facts.from_number or "")
    phone = as_phone(facts.to_numbers[0])
    return phone if phone == facts.to_numbers[0] else None


def _rank(facts: MessageFacts) -> int:
    return RANKS.get(facts.status, RANKS["sent"])
