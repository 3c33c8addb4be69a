"""Compare the provider's messages and calls with the stored ones; parse only those that differ."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy

from crm_api.domain.inbound.reconciliation.batch import Batch, ListedCall, ListedItem, Span
from crm_api.domain.messaging.conversations.call_state import merge_call, rank_status
from crm_api.domain.messaging.models.timeline import ActivityKind, Direction
from crm_api.domain.messaging.sends.report import RANKS
from crm_api.domain.provider.openphone.errors import UnreadableEventError
from crm_api.domain.provider.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.provider.openphone.json_values import instant, mapping, text
from crm_api.domain.provider.openphone.listing import CallExtras, has_ended
from crm_api.domain.provider.openphone.wire import parse_message
from crm_api.platform.database import UnitOfWork, typed_rows

EXTRAS_FOR = timedelta(days=30)
"""Maximum age of a call whose recordings, voicemail, summary and transcript are fetched."""


@dataclass(frozen=True, slots=True)
class DifferingMessage:
    """A message of the provider that is not stored here, or is stored with an earlier status.

    Attributes:
        position: The position of the message among the messages of the batch, starting at 1.
        status: The stored status of the message; None if the message is not stored.
    """

    position: int
    status: str | None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """The stored state of a call; ``call`` is the JSON document of the call."""

    openphone_id: str
    status: str | None
    rank: int
    call: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AbsentItem:
    """A stored message or call that the provider does not list."""

    openphone_id: str
    kind: str
    direction: str | None
    status: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallToRead:
    """A call in the provider's list that must be stored, updated, or completed with missing parts.

    Attributes:
        known: The stored call; None if the call is not stored.
        extras: The names of the missing parts to fetch, such as ``transcript``.
        is_behind: True if the call is not stored, or if the stored call is outdated. False if only
            ``extras`` are missing.
    """

    call: ListedCall
    known: StoredCall | None
    extras: frozenset[str]
    is_behind: bool


@dataclass(slots=True)
class Difference:
    """What differs between the stored data and a batch of messages and calls from the provider.

    Attributes:
        messages: The messages that must be stored or updated here.
        calls: The calls that must be stored, updated or completed here.
        unreadable: The id of each item that cannot be parsed, and the reason.
        absent: Stored messages and calls that the provider does not list.
    """

    messages: list[ListedItem] = field(default_factory=list)
    calls: list[CallToRead] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    absent: list[AbsentItem] = field(default_factory=list)

    def __bool__(self) -> bool:
        """True if there is any difference."""
        return bool(self.messages or self.calls or self.unreadable or self.absent)


async def compare_batch(
    uow: UnitOfWork, batch: Batch, *, since: datetime | None, until: datetime, now: datetime
) -> Difference:
    """Compare messages and calls from the provider with the stored messages and calls.

    Args:
        since: The start of the time span, exclusive, for which the lists of conversations
            (``batch.threads``) were read; None if the span has no start. Stored messages and calls
            outside the span are not compared with these lists.
        until: The end of the time span, inclusive.
    """
    found = Difference()
    if batch.messages:
        await _compare_messages(uow, batch, found)
    if batch.calls:
        await _compare_calls(uow, batch, found, now=now)
    if batch.span is not None:
        found.absent += await _absent_in_span(uow, batch, batch.span)
    if batch.threads:
        found.absent += await _absent_in_threads(uow, batch, since=since, until=until)
    return found


# Selects messages of the provider's list that are not stored, or that are stored with an earlier
# status. The ranks of statuses are those of `sends.report`. With LIMIT, the query does one index
# look-up per message id. Without LIMIT, the planner reads the whole table if there are many ids.
COMPARE_MESSAGES = sqlalchemy.text("""
    SELECT listed.position, a.status
    FROM unnest(CAST(:ids AS text[]), CAST(:ranks AS smallint[]))
        WITH ORDINALITY AS listed (id, rank, position)
    LEFT JOIN LATERAL (
        SELECT t.id, t.status, t.rank
        FROM activity_key k JOIN activity t ON t.id = k.activity_id
        WHERE k.openphone_id = listed.id LIMIT 1
    ) a ON true
    WHERE a.id IS NULL OR a.rank < listed.rank
""")


async def _compare_messages(uow: UnitOfWork, batch: Batch, found: Difference) -> None:
    listed = list(batch.messages.items())
    values = {
        "ids": [message_id for message_id, _ in listed],
        "ranks": [_rank(item) for _, item in listed],
    }
    rows = await uow.session.execute(COMPARE_MESSAGES, values)
    for differing in typed_rows(DifferingMessage, rows):
        message_id, item = listed[differing.position - 1]
        try:
            found.messages.append(_item_of(item, was=differing.status))
        except UnreadableEventError as error:
            found.unreadable.append((message_id, error.detail))


def _rank(item: object) -> int:
    """Return the rank of a message's status; later statuses have higher ranks.

    The rank of an incoming message is 0, because its status never changes.
    """
    message = mapping(item)
    if message.get("direction") == Direction.INCOMING:
        return 0
    status = text(message.get("status")) or ""
    return RANKS.get(status.lower(), RANKS["sent"])


def _item_of(item: object, *, was: str | None) -> ListedItem:
    facts = parse_message(item)
    event = ProviderEvent(
        event_id=None,
        type="message.listed",
        created_at=facts.updated_at,
        kind=EventKind.MESSAGE,
        message=facts,
    )
    return ListedItem(
        id=facts.provider_message_id,
        kind=ActivityKind.MESSAGE.value,
        direction=facts.direction,
        at=facts.created_at,
        changed_at=facts.updated_at or facts.created_at,
        events=[event],
        was=was,
        now=facts.status,
    )


KNOWN_CALLS = sqlalchemy.text("""
    SELECT a.openphone_id, a.status, a.rank, a.call
    FROM activity_key k JOIN activity a ON a.id = k.activity_id
    WHERE k.openphone_id = ANY(CAST(:ids AS text[]))
""")


async def _compare_calls(
    uow: UnitOfWork, batch: Batch, found: Difference, *, now: datetime
) -> None:
    rows = await uow.session.execute(KNOWN_CALLS, {"ids": list(batch.calls)})
    stored = {call.openphone_id: call for call in typed_rows(StoredCall, rows)}
    for call_id, call in batch.calls.items():
        known = stored.get(call_id)
        extras = _missing_extras(call, known, now=now)
        try:
            is_behind = _is_behind(call, known)
        except UnreadableEventError as error:
            found.unreadable.append((call_id, error.detail))
            continue
        if extras or is_behind:
            found.calls.append(
                CallToRead(call=call, known=known, extras=extras, is_behind=is_behind)
            )


def _is_behind(call: ListedCall, known: StoredCall | None) -> bool:
    """Return whether the stored call is missing or outdated, compared with the provider's call.

    Raises:
        UnreadableEventError: The call has no id or no time of creation.
    """
    events = call.events(CallExtras())
    if known is None:
        return True
    document, state = known.call, (known.rank, known.status)
    for event in events:
        if event.call is not None:
            document = merge_call(document, event.call, event_at=event.created_at)
            state = max(state, rank_status(event.call, event.type))
    return bool(document != known.call or state != (known.rank, known.status))


def _missing_extras(call: ListedCall, known: StoredCall | None, *, now: datetime) -> frozenset[str]:
    """Return the names of the call's parts that are not stored but may exist at the provider.

    The set is empty if the call has not ended, or began more than ``EXTRAS_FOR`` ago.
    """
    item = mapping(call.item)
    began_at = instant(item.get("createdAt"))
    if not has_ended(item) or began_at is None or now - began_at > EXTRAS_FOR:
        return frozenset()
    stored = {} if known is None else known.call
    if instant(item.get("answeredAt")) is not None:
        wanted = {"recordings", "summary", "transcript"}
    else:
        is_incoming = text(item.get("direction")) == Direction.INCOMING
        wanted = (
            {"voicemail"} if is_incoming and stored.get("has_voicemail") is not False else set()
        )
    return frozenset(name for name in wanted if not stored.get(name))


# EXCEPT uses a hash or a sort to find the stored messages and calls that the provider's list lacks.
# With a join and without statistics (as during an import), the planner would compare every stored
# item with every listed item. The query ABSENT_IN_THREADS does one index look-up per conversation.
_NOT_LISTED = """
    SELECT ours.openphone_id, kind, direction, status, occurred_at
    FROM (SELECT openphone_id FROM ours EXCEPT SELECT unnest(CAST(:ids AS text[]))) AS absent
    JOIN ours ON ours.openphone_id = absent.openphone_id
"""


ABSENT_IN_SPAN = sqlalchemy.text(f"""
    WITH ours AS MATERIALIZED (
        SELECT a.openphone_id, a.kind, a.direction, a.status, a.occurred_at
        FROM activity a
        WHERE a.kind = 'message' AND a.openphone_id IS NOT NULL
          AND a.occurred_at > CAST(:after AS timestamptz)
          AND a.occurred_at <= CAST(:until AS timestamptz)
          AND a.line_id IN (
              SELECT id FROM line WHERE phone_number_id = ANY(CAST(:lines AS text[])))
    ) {_NOT_LISTED}
""")


async def _absent_in_span(uow: UnitOfWork, batch: Batch, span: Span) -> list[AbsentItem]:
    """Return messages whose stored time is in ``span`` and that the provider does not list."""
    values = {
        "lines": span.lines,
        "ids": [*batch.messages, *span.near],
        "after": span.after,
        "until": span.until,
    }
    return typed_rows(AbsentItem, await uow.session.execute(ABSENT_IN_SPAN, values))


ABSENT_IN_THREADS = sqlalchemy.text(f"""
    WITH ours AS MATERIALIZED (
        SELECT a.openphone_id, a.kind, a.direction, a.status, a.occurred_at
        FROM unnest(CAST(:lines AS text[]), CAST(:phones AS text[]), CAST(:kinds AS text[]))
            AS thread (line, phone, kind)
        CROSS JOIN LATERAL (
            SELECT id FROM line WHERE phone_number_id = thread.line LIMIT 1
        ) l
        CROSS JOIN LATERAL (
            SELECT id FROM conversation WHERE line_id = l.id AND phone = thread.phone LIMIT 1
        ) c
        CROSS JOIN LATERAL (
            SELECT * FROM activity
            WHERE conversation_id = c.id AND occurred_at > CAST(:after AS timestamptz)
              AND occurred_at <= CAST(:until AS timestamptz)
            OFFSET 0
        ) a
        WHERE a.kind = thread.kind AND a.openphone_id IS NOT NULL
          AND jsonb_array_length(coalesce(a.call -> 'participants', '[]')) < 2
          AND jsonb_array_length(coalesce(a.call -> 'external', '[]')) < 2
    ) {_NOT_LISTED}
""")


async def _absent_in_threads(
    uow: UnitOfWork, batch: Batch, *, since: datetime | None, until: datetime
) -> list[AbsentItem]:
    """Return the stored messages and calls that are missing in the lists ``batch.threads``.

    Only messages and calls after ``since``, and not after ``until``, are compared.
    """
    values = {
        "lines": [thread.line for thread in batch.threads],
        "phones": [thread.person for thread in batch.threads],
        "kinds": [thread.kind for thread in batch.threads],
        "ids": [*batch.messages, *batch.calls],
        "after": since or datetime.min.replace(tzinfo=until.tzinfo),
        "until": until,
    }
    return typed_rows(AbsentItem, await uow.session.execute(ABSENT_IN_THREADS, values))
