"""Find the phone line of each event; apply opt-outs even if the phone line is not stored.

Each line is looked up once per batch. An opt-out belongs to the person's number, so it does not
wait for the line. All other effects of a message wait until the line is stored.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.consent import queries
from crm_api.domain.consent.models import ConsentSource, FlagType, hash_phone
from crm_api.domain.consent.reply_reader.reader import Reading, ReplyKind, read_reply
from crm_api.domain.inbound.webhook_events import erased_people
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.kit.errors import Example, InvalidError
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.messaging.conversations.participants import as_phone, find_or_add_contacts
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.provider.openphone.facts import (
    CallFacts,
    MessageFacts,
    ProviderEvent,
    bound_event,
)
from crm_api.platform.database import UnitOfWork

UNKNOWN_LINE = AlertKind.OPT_OUT_ON_UNKNOWN_LINE
"""Kind of the alert about an opt-out on an unknown line. The subject of the alert is the provider's
id of the line."""
NO_LINE = "none"
"""Subject of the alert if the event contains no id of a line."""
BY_THE_PERSON = "person"
APPLIED_AT_ONCE = {
    ReplyKind.OPT_OUT: (consent.opt_out, FlagType.OPTED_OUT),
    ReplyKind.DOUBTFUL: (consent.place_hold, FlagType.OPT_OUT_HOLD),
}
"""The kinds of replies whose decisions are applied immediately. Each value is a pair: the function
that applies the decision, and the flag that this function sets. An opt-in is not in this table. It
waits until the line is stored, because a message against a person's will is worse than a late
message."""


KNOWN = text("""
    SELECT l.phone_number_id FROM line l
    WHERE l.phone_number_id = ANY(CAST(:subjects AS text[]))
    UNION ALL
    SELECT CAST(:no_line AS text) WHERE NOT EXISTS (
        SELECT FROM webhook_event e WHERE e.error_code = 'incomplete_event')
""")


async def apply_decision_on_unknown_line(
    uow: UnitOfWork, event: ProviderEvent, *, now: datetime, apply_settings: ApplySettings
) -> bool:
    """Apply an opt-out that arrived on an unknown phone line, and raise an alert.

    A doubtful reply puts the sender's number on hold. Other messages change nothing. Repeated calls
    for one message add only one entry to the consent history.

    Args:
        now: The database's time of this transaction. If a time in the event is after ``now``, it is
            replaced by ``now``.

    Returns:
        True for an opt-out or a doubtful reply; False for other messages, and if the person was
        erased after the event.
    """
    kept = await erased_people.leave_out_erased(
        uow, [bound_event(event, received_at=now)], secret=apply_settings.secret, now=now
    )
    facts = kept[0].message if kept else None
    if facts is None or facts.direction != Direction.INCOMING:
        return False
    reading = read_reply(facts.text)
    phone = as_phone(facts.from_number or "")
    if phone is None or reading.kind not in APPLIED_AT_ONCE:
        return False
    if not await decided_before(
        uow, {facts.provider_message_id: phone}, apply_settings=apply_settings
    ):
        await _decide(uow, facts, reading, phone=phone, now=now, apply_settings=apply_settings)
    await _raise_alert(uow, facts, now=now)
    return True


async def decided_before(
    uow: UnitOfWork, senders: Mapping[str, str], *, apply_settings: ApplySettings
) -> dict[str, bool]:
    """Find the messages that already caused an opt-out or a hold of their sender.

    These messages arrived on an unknown line. They must not opt their sender out a second time.

    Args:
        senders: The sender's phone number of each message, by the provider's id of the message.

    Returns:
        One item for each found message, by the provider's id. The value is True if the opt-out or
        hold was new for the number.
    """
    hashes = {name: hash_phone(phone, apply_settings.secret) for name, phone in senders.items()}
    found = await queries.evidence_of_messages(uow.session, hashes)
    return {name: bool(evidence.get("is_first")) for name, evidence in found.items()}


async def _decide(
    uow: UnitOfWork,
    facts: MessageFacts,
    reading: Reading,
    *,
    phone: str,
    now: datetime,
    apply_settings: ApplySettings,
) -> None:
    flags = (await flags_of(uow.session, [phone], now=now))[phone]
    contacts = await find_or_add_contacts(uow, [phone], may_add=(), now=now)
    decide, flag = APPLIED_AT_ONCE[reading.kind]
    await decide(
        uow,
        phone=phone,
        contact_id=contacts.get(phone),
        source=ConsentSource.MESSAGE,
        actor=BY_THE_PERSON,
        reason=reading.wording,
        evidence={
            "text": facts.text,
            "reading": reading.evidence(),
            "message_id": facts.provider_message_id,
            "unknown_line": facts.phone_number_id,
            "is_first": flag not in flags,
        },
        at=facts.created_at,
        claimed_at=facts.claimed_at,
        now=now,
        secret=apply_settings.secret,
    )


async def _raise_alert(uow: UnitOfWork, facts: MessageFacts, *, now: datetime) -> None:
    line = facts.phone_number_id
    named = "a line that the event does not name" if line is None else f"the unknown line {line}"
    await alerts.raise_alert(
        uow,
        kind=UNKNOWN_LINE,
        subject=line or NO_LINE,
        detail=f"A person sent an opt-out to {named}. The number of the person is opted out, or on "
        "hold if the message is doubtful, but the message is not on the timeline yet. Read the "
        "lines from the provider with POST /v1/lines/sync, then POST "
        '/v1/webhook-events/replay {"error_code": "line_unknown"}.',
        context={"phone_number_id": line},
        now=now,
    )


async def resolve_alerts_of_known_lines(uow: UnitOfWork, *, now: datetime) -> None:
    """Resolve each alert about an unknown line if the cause of the alert is gone.

    - An alert about an unknown line is resolved if the line is stored now.
    - The alert about events without a line is resolved if there are no such events any more.
    """
    open_ids = await alerts.list_open_subjects(uow, kind=UNKNOWN_LINE)
    if not open_ids:
        return
    known = set(await uow.session.scalars(KNOWN, {"subjects": list(open_ids), "no_line": NO_LINE}))
    for subject in known.intersection(open_ids):
        await alerts.resolve_alert(uow, kind=UNKNOWN_LINE, subject=subject, now=now)


LineKey = tuple[str | None, tuple[str, ...]]
"""How an event identifies its phone line: the provider's id of the line, and our own phone numbers
in the event."""


class LineUnknownError(InvalidError):
    """The event belongs to a phone line that this service has not stored."""

    code = "line_unknown"
    title = "Unknown line"
    example = Example(
        "The line PNq7x1Zk3v is unknown. Read the lines from the provider with POST "
        "/v1/lines/sync, then replay this event."
    )


class IncompleteEventError(InvalidError):
    """The event lacks data that is needed to apply it."""

    code = "incomplete_event"
    title = "Event incomplete"
    detail = "The event does not name the line of the message."


class LineFinder:
    """Finds the phone lines of events within one transaction, and remembers the lines it found."""

    def __init__(self, uow: UnitOfWork, *, resend_unclear: bool, now: datetime) -> None:
        self._uow = uow
        self._resend_unclear = resend_unclear
        self._now = now
        self._found: dict[LineKey, Line | None] = {}

    async def of_message(self, facts: MessageFacts) -> Line:
        """Return the line of a message.

        Raises:
            LineUnknownError: The message names a line that this service has not stored.
            IncompleteEventError: The message does not name its line.
        """
        is_incoming = facts.direction == Direction.INCOMING
        own = facts.to_numbers if is_incoming else (facts.from_number or "",)
        line = await self._find(facts.phone_number_id, own)
        if line is None:
            raise IncompleteEventError
        return line

    async def of_call(self, facts: CallFacts) -> Line | None:
        """Return the line of a call; None if the event does not name the line.

        Raises:
            LineUnknownError: The event names a line that this service has not stored.
        """
        return await self._find(facts.phone_number_id, facts.own)

    async def _find(self, phone_number_id: str | None, own: tuple[str, ...]) -> Line | None:
        key = (phone_number_id, own)
        if key not in self._found:
            self._found[key] = await self._look(phone_number_id, own)
        return self._found[key]

    async def _look(self, phone_number_id: str | None, own: Sequence[str]) -> Line | None:
        """Find a phone line by the provider's id or, if there is no id, by its phone number.

        A line that is not stored is added if the event contains the id of the line and exactly one
        of our numbers.

        Raises:
            LineUnknownError: The event has the id of the line, but the line is neither stored nor
                added.
        """
        if phone_number_id is None:
            return await lines.find_line_by_number(self._uow, numbers=own) if own else None
        numbers = [number for one in own if (number := as_phone(one)) is not None]
        line = await lines.ensure_line(
            self._uow,
            phone_number_id=phone_number_id,
            number=numbers[0] if len(numbers) == 1 else None,
            resend_unclear=self._resend_unclear,
            now=self._now,
        )
        if line is None:
            raise LineUnknownError(
                f"The line {phone_number_id} is unknown. Read the lines from the provider with "
                "POST /v1/lines/sync, then replay this event."
            )
        return line
