"""Compares what is listed with what is stored, many at once; reads only what differs."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.activity.calls import merge_call, rank_status
from crm_api.domain.activity.models import ActivityKind, Direction
from crm_api.domain.openphone.errors import UnreadableEventError
from crm_api.domain.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.openphone.json_values import instant, mapping, text
from crm_api.domain.openphone.listed_calls import is_over
from crm_api.domain.openphone.listing import CallExtras
from crm_api.domain.openphone.wire import parse_message
from crm_api.domain.reconciliation import queries
from crm_api.domain.reconciliation.batch import Batch, Item, ListedCall
from crm_api.domain.sends.reports import RANKS

EXTRAS_FOR = timedelta(days=30)
"""Recordings, voicemails, summaries and transcripts are asked for no longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallToAsk:
    """A call of which something may be missing here, and what to ask for beside it."""

    call: ListedCall
    known: Row[Any] | None
    extras: frozenset[str]
    is_behind: bool


@dataclass(slots=True)
class Difference:
    """What differs; ``unreadable`` are ids with the reason."""

    messages: list[Item] = field(default_factory=list)
    calls: list[CallToAsk] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    absent: list[Row[Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """True when there is anything to do or to tell."""
        return bool(self.messages or self.calls or self.unreadable or self.absent)


async def compare(
    uow: UnitOfWork, batch: Batch, *, since: datetime | None, until: datetime, now: datetime
) -> Difference:
    """Find out what of a batch is missing or less far here, and what is here and not listed."""
    found = Difference()
    if batch.messages:
        await _compare_messages(uow, batch, found)
    if batch.calls:
        known = await queries.known_calls(uow.session, ids=list(batch.calls))
        for call_id, call in batch.calls.items():
            row = known.get(call_id)
            extras = _missing_extras(call, row, now=now)
            try:
                is_behind = _is_behind(call, row)
            except UnreadableEventError as error:
                found.unreadable.append((call_id, error.detail))
                continue
            if extras or is_behind:
                found.calls.append(
                    CallToAsk(call=call, known=row, extras=extras, is_behind=is_behind)
                )
    if batch.span is not None:
        found.absent += await queries.absent_in_span(
            uow.session,
            lines=batch.span.lines,
            ids=[*batch.messages, *batch.span.near],
            after=batch.span.after,
            until=batch.span.until,
        )
    if batch.threads:
        found.absent += await queries.absent_in_threads(
            uow.session,
            threads=batch.threads,
            ids=[*batch.messages, *batch.calls],
            after=since or datetime.min.replace(tzinfo=until.tzinfo),
            until=until,
        )
    return found


async def _compare_messages(uow: UnitOfWork, batch: Batch, found: Difference) -> None:
    listed = list(batch.messages.items())
    rows = await queries.compare(
        uow.session,
        ids=[message_id for message_id, _ in listed],
        ranks=[_rank(item) for _, item in listed],
    )
    for row in rows:
        message_id, item = listed[row.place - 1]
        try:
            found.messages.append(_item_of(item, was=row.status))
        except UnreadableEventError as error:
            found.unreadable.append((message_id, error.detail))


def _rank(item: object) -> int:
    """Return how far a text has come; a received one is as far as it can be."""
    message = mapping(item)
    if message.get("direction") == Direction.INCOMING:
        return 0
    status = text(message.get("status")) or ""
    return RANKS.get(status.lower(), RANKS["sent"])


def _item_of(item: object, *, was: str | None) -> Item:
    facts = parse_message(item)
    event = ProviderEvent(
        event_id=None,
        type="message.listed",
        api_version=None,
        created_at=facts.updated_at,
        kind=EventKind.MESSAGE,
        message=facts,
    )
    return Item(
        id=facts.provider_message_id,
        kind=ActivityKind.MESSAGE.value,
        direction=facts.direction,
        at=facts.created_at,
        changed_at=facts.updated_at or facts.created_at,
        events=[event],
        was=was,
        now=facts.status,
    )


def _is_behind(call: ListedCall, known: Row[Any] | None) -> bool:
    """Say whether what the list tells of a call would change its row.

    Raises:
        UnreadableEventError: It has no time.
    """
    events = call.events(CallExtras())
    if known is None:
        return True
    document, standing = known.call, (known.rank, known.status)
    for event in events:
        if event.call is not None:
            document = merge_call(document, event.call, event_at=event.created_at)
            standing = max(standing, rank_status(event.call, event.type))
    return bool(document != known.call or standing != (known.rank, known.status))


def _missing_extras(call: ListedCall, known: Row[Any] | None, *, now: datetime) -> frozenset[str]:
    """Name what may belong to a call, by how it ended, and is not here."""
    item = mapping(call.item)
    began_at = instant(item.get("createdAt"))
    if not is_over(item) or began_at is None or now - began_at > EXTRAS_FOR:
        return frozenset()
    told = {} if known is None else known.call
    if instant(item.get("answeredAt")) is not None:
        wanted = {"recordings", "summary", "transcript"}
    else:
        is_incoming = text(item.get("direction")) == Direction.INCOMING
        wanted = {"voicemail"} if is_incoming and told.get("has_voicemail") is not False else set()
    return frozenset(name for name in wanted if not told.get(name))
