"""Store a reply and a decision about it as an example for measuring the reply reader.

If a decision does not name the reply that it is about, ``_find_reply`` finds this reply.

No model is trained on the examples automatically. ``crm-api opt-out evaluate`` compares the results
of the reader with the decisions, and can write the examples to a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries
from crm_api.domain.consent.consent_state import ConsentState
from crm_api.domain.consent.errors import NotAReplyError
from crm_api.domain.consent.models import ConsentAction, ConsentSource, ExampleLabel, hash_phone
from crm_api.domain.consent.reply_reader.analysis import Context
from crm_api.domain.consent.reply_reader.reader import DecidedBy, ReplyKind, read_reply
from crm_api.platform.database import typed_row

BY_THE_OFFICE = (ConsentSource.API, ConsentSource.USER)
"""The sources of decisions by a user or an API client. If a decision with one of these sources
gives no id of a reply, this module looks for the reply."""
CORRECTED_WITHIN = timedelta(days=30)
"""A decision within this time after a reply corrects how the reply was read. A later decision
probably has another cause."""
_OFFICE = ("manual", "provider")
"""The origins of messages that a user wrote, here or in the provider's app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEntry:
    """The newest entry of one kind, such as an opt-out, in a number's consent history.

    Attributes:
        activity_id: The id of the message that contains the decision; None if the decision does not
            come from a stored message.
    """

    activity_id: UUID | None
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedReply:
    """A person's reply about which a decision was made.

    Attributes:
        previous: Our last message before the reply; None if there was none.
        is_sale: True if an employee wrote ``previous`` by hand. The reply then belongs to a sales
            conversation.
        has_entry: True if the consent history has an entry about the reply.
        reading: The result of the reply reader when the reply arrived; None if it was not stored.
    """

    id: UUID
    phone: str
    body: str
    previous: str | None
    is_sale: bool
    has_entry: bool
    reading: dict[str, Any] | None


# If a reply was sent to an unknown line, its consent entry contains only the provider's id of the
# message. So the reply is also searched by this id.
LAST_ENTRY = text("""
    SELECT coalesce(e.activity_id, k.activity_id) AS activity_id, e.source, e.created_at
    FROM consent_entry e
    LEFT JOIN consent_wording w ON w.entry_id = e.id
    LEFT JOIN activity_key k ON k.openphone_id = w.evidence ->> 'message_id'
    WHERE e.phone_hash = :phone_hash AND e.action = :action
    ORDER BY e.id DESC LIMIT 1
""")
# This finds the example that an earlier decision has stored. The example has the same time as the
# decision. No other decision about the number has this time.
DECIDED_AT = text("""
    SELECT r.activity_id FROM reply_example r
    WHERE r.phone_hash = :phone_hash AND r.decided_at = :decided_at
    ORDER BY r.activity_id DESC LIMIT 1
""")
NEWEST_REPLY = text("""
    SELECT a.id
    FROM line l
    JOIN conversation t ON t.line_id = l.id AND t.phone = :phone
    CROSS JOIN LATERAL (
        SELECT m.id, m.occurred_at FROM activity m
        WHERE m.conversation_id = t.id AND m.kind = 'message' AND m.direction = 'incoming'
          AND m.occurred_at >= :since
        ORDER BY m.occurred_at DESC, m.id DESC LIMIT 1
    ) a
    ORDER BY a.occurred_at DESC, a.id DESC LIMIT 1
""")
REPLY = text("""
    SELECT a.id, a.phone, a.body, o.body AS previous,
           coalesce(o.origin = ANY(CAST(:office AS text[])), false) AS is_sale,
           n.id IS NOT NULL AS has_entry, n.reading
    FROM activity a
    LEFT JOIN LATERAL (
        SELECT b.body, b.origin FROM activity b
        WHERE b.conversation_id = a.conversation_id AND b.occurred_at <= a.occurred_at
          AND b.kind = 'message' AND b.direction = 'outgoing'
        ORDER BY b.occurred_at DESC, b.id DESC LIMIT 1
    ) o ON true
    LEFT JOIN LATERAL (
        SELECT e.id, w.evidence -> 'reading' AS reading
        FROM consent_entry e LEFT JOIN consent_wording w ON w.entry_id = e.id
        WHERE e.phone_hash = ANY(CAST(:hashes AS bytea[])) AND e.source = 'message'
          AND (e.activity_id = a.id OR w.evidence ->> 'message_id' = a.openphone_id)
        ORDER BY e.id LIMIT 1
    ) n ON true
    WHERE a.id = :activity_id AND a.kind = 'message' AND a.direction = 'incoming'
      AND a.body ~ '[^[:space:]]'
""")
IS_REPLY = text("""
    SELECT EXISTS (
        SELECT FROM activity a
        WHERE a.id = :activity_id AND a.kind = 'message' AND a.direction = 'incoming'
          AND (a.contact_id = :contact_id OR a.phone = ANY(CAST(:phones AS text[]))))
""")
KEEP_EXAMPLE = text("""
    INSERT INTO reply_example AS r
        (activity_id, phone_hash, body, previous, is_sale, read_as, reading, label, decision,
         decided_at, created_at)
    SELECT a.id, :phone_hash, a.body, :previous, :is_sale, :read_as, :reading, :label, :decision,
           CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM activity a WHERE a.id = :activity_id AND a.phone = :phone
    ON CONFLICT (activity_id) DO UPDATE
    SET label = excluded.label, decision = excluded.decision, decided_at = excluded.decided_at
""").bindparams(bindparam("reading", type_=JSONB))
ERASE_EXAMPLES = text(
    "DELETE FROM reply_example r WHERE r.phone_hash = ANY(CAST(:hashes AS bytea[]))"
)


async def keep_reply_example(
    session: AsyncSession,
    action: ConsentAction,
    *,
    before: ConsentState,
    phones: Sequence[str],
    source: ConsentSource,
    message_id: UUID | None,
    now: datetime,
    secret: bytes,
) -> None:
    """Store the reply that a consent decision is about, as an example for the reply reader.

    A later decision about the same reply replaces the earlier one.

    Args:
        before: The consent state of the number before the decision.
        phones: First the number of the decision, then the other numbers of the same person.
        message_id: The id of the reply. If it is None, ``_find_reply`` searches for the reply. The
            reply that was found is stored only if both conditions are true:

            - A user or an API client made the decision.
            - The model read the reply, or the number was on hold before the decision.
    """
    if message_id is None and source not in BY_THE_OFFICE:
        return
    reply_id = message_id or await _find_reply(
        session, action, before=before, phone=phones[0], now=now, secret=secret
    )
    if reply_id is None:
        return
    hashes = [hash_phone(one, secret) for one in phones]
    reply = await _read_decided_reply(session, reply_id, hashes=hashes)
    if reply is None:
        return
    reading = _reading_of(reply)
    is_certain = reading.get("decided_by") != DecidedBy.MODEL
    if is_certain and message_id is None and not before.on_hold:
        return
    is_stop = action is ConsentAction.OPT_OUT
    values = {
        "activity_id": reply.id,
        "phone": reply.phone,
        "phone_hash": hash_phone(reply.phone, secret),
        "previous": reply.previous,
        "is_sale": reply.is_sale,
        "read_as": reading["kind"],
        "reading": reading,
        "label": ExampleLabel.STOP if is_stop else ExampleLabel.NOT_STOP,
        "decision": action,
        "now": now,
    }
    await session.execute(KEEP_EXAMPLE, values)


async def _find_reply(
    session: AsyncSession,
    action: ConsentAction,
    *,
    before: ConsentState,
    phone: str,
    now: datetime,
    secret: bytes,
) -> UUID | None:
    """Return the id of the reply to which a decision belongs; None if there is no such reply.

    ``before``, the state of the number before the decision, determines the reply:

    - If the number was on hold: the reply that put the number on hold.
    - If the number was neither on hold nor opted out, and ``action`` is an opt-out: the newest
      reply of the last 30 days.
    - If the number was opted out in the last 30 days, and ``action`` is not an opt-out: the reply
      that led to the opt-out.
    """
    since = now - CORRECTED_WITHIN
    if before.on_hold:
        entry = await _last_entry(session, phone, ConsentAction.HOLD, secret=secret)
        return entry.activity_id if entry and entry.source == ConsentSource.MESSAGE else None
    if action is ConsentAction.OPT_OUT:
        if before.opted_out:
            return None
        newest: UUID | None = await session.scalar(NEWEST_REPLY, {"phone": phone, "since": since})
        return newest
    entry = await _last_entry(session, phone, ConsentAction.OPT_OUT, secret=secret)
    if not before.opted_out or not entry or entry.created_at < since:
        return None
    if entry.source == ConsentSource.MESSAGE:
        return entry.activity_id
    values = {"phone_hash": hash_phone(phone, secret), "decided_at": entry.created_at}
    decided: UUID | None = await session.scalar(DECIDED_AT, values)
    return decided


async def _last_entry(
    session: AsyncSession, phone: str, action: ConsentAction, *, secret: bytes
) -> LastEntry | None:
    values = {"phone_hash": hash_phone(phone, secret), "action": action}
    return typed_row(LastEntry, (await session.execute(LAST_ENTRY, values)).one_or_none())


async def _read_decided_reply(
    session: AsyncSession, activity_id: UUID, *, hashes: Sequence[bytes]
) -> DecidedReply | None:
    """Load a reply, our last message before it, and the stored reading of the reply.

    The result is None if ``activity_id`` is not the id of a reply, or if the reply has no text.
    """
    values = {"activity_id": activity_id, "hashes": list(hashes), "office": list(_OFFICE)}
    return typed_row(DecidedReply, (await session.execute(REPLY, values)).one_or_none())


def _reading_of(reply: DecidedReply) -> dict[str, Any]:
    """Return the stored reading of a reply. If none is stored, read the reply again.

    A reply without an entry in the consent history changed nothing when it arrived. If a reply
    without an entry is read again, every ``kind`` except ``help`` becomes ``none``.
    """
    if reply.reading is not None:
        return dict(reply.reading)
    is_question = (reply.previous or "").rstrip().endswith("?")
    context = Context(is_sale=reply.is_sale, is_question=is_question)
    again = read_reply(reply.body, context).evidence()
    return again if reply.has_entry else {**again, "kind": _left_alone(again["kind"])}


def _left_alone(kind: str) -> str:
    return kind if kind == ReplyKind.HELP else ReplyKind.NONE.value


async def require_reply(
    session: AsyncSession, *, message_id: UUID, contact_id: UUID, phone: str
) -> None:
    """Check that a message was received from a person.

    Args:
        message_id: The id of the message.
        contact_id: The id of the person's contact.
        phone: A number of the person; a message from any number of the person is accepted.

    Raises:
        NotAReplyError: The message does not exist, was sent by us, or is from another person.
    """
    phones = await queries.numbers_of_person(session, phone=phone)
    values = {"activity_id": message_id, "contact_id": contact_id, "phones": sorted(phones)}
    if not await session.scalar(IS_REPLY, values):
        raise NotAReplyError


async def erase_reply_examples(session: AsyncSession, *, hashes: Sequence[bytes]) -> None:
    """Delete all reply examples of the phone numbers with these keyed hashes."""
    await session.execute(ERASE_EXAMPLES, {"hashes": list(hashes)})
