"""Claim, gate, release: from a pending recipient to a call that may begin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

from sqlalchemy import Row

from crm_api import failpoints
from crm_api.db import UnitOfWork
from crm_api.domain.errors import InvalidError
from crm_api.domain.sends import deriving, pacing, queries
from crm_api.domain.sends.pacing import Pace, Pacing, Room
from crm_api.domain.sends.queries import Wanted
from crm_api.domain.sends.times import SendTimes
from crm_api.ids import new_id

POSTPONE = timedelta(seconds=60)
"""A recipient that the claim could not take (number busy, texted lately) is looked at again."""

_NO_CAP = (None, None)
_SEND_ANYWAY = "send"


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """An attempt that this process holds; only the holder of the token may gate and call."""

    attempt_id: UUID
    token: UUID
    membership_id: UUID | None
    campaign_id: UUID | None
    line_id: UUID
    sender: str
    """The provider's id of the line."""
    phone: str
    body: str
    is_probe: bool = False
    """The one text by which a line that was blocked is tried again."""


class Composer(Protocol):
    """Writes the text of a recipient."""

    def variant_of(self, recipient: Row[Any]) -> int:
        """Return the wording that a recipient gets: its own, unless that one was stopped."""

    def __call__(self, recipient: Row[Any], line: Row[Any]) -> str:
        """Write the text of a recipient's step.

        Raises:
            InvalidError: There is none, and why.
        """


@dataclass(frozen=True, kw_only=True)
class ClaimOrder:
    """What may go now for one campaign.

    Attributes:
        open_zones: The zones that are open, each with the instant at which it closes.
        compose: Writes the text for a recipient's row, with the line's row.
        daily_limit: The campaign's own, in the line's day.
        caps: Of zones whose law limits it: how many campaign texts a number may get, and in how
            many hours.
        frequency_cap: The campaign's own limit of the kind, over all campaigns.
        stopped_variants: How many wordings were stopped when this was planned.
        previously_contacted: What becomes of people who were texted before: ``send``, ``skip`` or
            ``review``.
    """

    campaign_id: UUID
    line_id: UUID
    open_zones: Mapping[str, datetime]
    daily_limit: int
    min_days_between: int | None
    compose: Composer
    pacing: Pacing
    caps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    frequency_cap: tuple[int, int] | None = None
    stopped_variants: int = 0
    previously_contacted: str = _SEND_ANYWAY


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What a claim took.

    Attributes:
        is_exhausted: Nothing more may go for this campaign now.
        is_stale: Another wording was stopped since the order was planned; it is to be planned anew.
    """

    claimed: list[Claimed] = field(default_factory=list)
    is_exhausted: bool = True
    is_stale: bool = False


@dataclass(frozen=True, kw_only=True)
class _Allowance:
    """What caps and pace allow, counted under the line's lock."""

    room: Room
    pace: Pace | None
    quota: int
    is_ramp_waiting: bool


async def claim(
    uow: UnitOfWork, order: ClaimOrder, *, limit: int, times: SendTimes, now: datetime
) -> ClaimResult:
    """Claim up to ``limit`` due recipients: lock line and numbers, count, then insert (R1).

    The caller commits before it does anything with the result.
    """
    session = uow.session
    # A zone that closes before a call could end is as good as closed; the gate would refuse it.
    zones = [key for key, closes_at in order.open_zones.items() if closes_at > now + times.call]
    line = await queries.lock_line(session, campaign_id=order.campaign_id) if zones else None
    if line is None:
        return ClaimResult()
    if line.stopped_variants != order.stopped_variants:
        return ClaimResult(is_stale=True)
    await failpoints.reach("claim.locked")
    allowance = await _count(uow, order, line, zones=zones, times=times, now=now)
    wanted = min(limit, allowance.quota)
    if wanted <= 0:
        return ClaimResult()
    rows = await queries.lock_candidates(
        session,
        campaign_id=order.campaign_id,
        zone_keys=zones,
        limit=wanted,
        now=now,
    )
    new = await _set_contacted_aside(uow, order, rows, now=now)
    texts, lacking = _compose(order, new, line)
    for reason, membership_ids in lacking.items():
        await deriving.skip(session, membership_ids=membership_ids, reason=reason, now=now)
    claimed = await _insert(uow, order, texts, line=line, times=times, now=now)
    if claimed:
        await _go_on(uow, order, allowance, taken=len(claimed), now=now)
    # Fewer rows than asked for: the rest is locked elsewhere or not there; both can wait a tick.
    is_exhausted = len(rows) < wanted or len(claimed) >= allowance.quota
    return ClaimResult(claimed=claimed, is_exhausted=is_exhausted)


async def _count(
    uow: UnitOfWork,
    order: ClaimOrder,
    line: Row[Any],
    *,
    zones: list[str],
    times: SendTimes,
    now: datetime,
) -> _Allowance:
    used = (
        await queries.usage(
            uow.session,
            line_ids=[order.line_id],
            campaign_id=order.campaign_id,
            grace=times.grace_seconds,
            now=now,
        )
    )[0]
    room = Room(
        line_left=used.line_limit - used.line_used,
        campaign_left=order.daily_limit - used.campaign_used,
        ends_at=min(used.ends_at, max(order.open_zones[key] for key in zones)),
    )
    pace = None if used.next_at is None else Pace(next_at=used.next_at, batch_left=used.batch_left)
    quota = pacing.quota(order.pacing, pace, room, now)
    if line.is_probing:
        # The line was blocked: one text at a time, until the provider has taken one.
        quota = min(quota, 0 if used.line_open else 1)
    return _Allowance(room=room, pace=pace, quota=quota, is_ramp_waiting=used.is_ramp_waiting)


async def _set_contacted_aside(
    uow: UnitOfWork, order: ClaimOrder, rows: Sequence[Row[Any]], *, now: datetime
) -> Sequence[Row[Any]]:
    """Return those whom the campaign's rule about people texted before lets through.

    It was asked when the audience was written down; a campaign runs for weeks, another beside it.
    """
    if not rows or order.previously_contacted == _SEND_ANYWAY:
        return rows
    aside = await queries.set_contacted_aside(
        uow.session,
        membership_ids=[row.id for row in rows],
        rule=order.previously_contacted,
        now=now,
    )
    return [row for row in rows if row.id not in aside]


async def _go_on(
    uow: UnitOfWork, order: ClaimOrder, allowance: _Allowance, *, taken: int, now: datetime
) -> None:
    pace = pacing.advance(order.pacing, allowance.pace, allowance.room, taken=taken, now=now)
    await queries.set_pace(uow.session, campaign_id=order.campaign_id, pace=pace)
    if allowance.is_ramp_waiting:
        await queries.begin_ramp(uow.session, line_id=order.line_id, now=now)


def _compose(
    order: ClaimOrder, rows: Sequence[Row[Any]], line: Row[Any]
) -> tuple[list[tuple[Row[Any], str]], dict[str, list[UUID]]]:
    texts: list[tuple[Row[Any], str]] = []
    lacking: dict[str, list[UUID]] = {}
    for row in rows:
        try:
            texts.append((row, order.compose(row, line)))
        except InvalidError as error:
            lacking.setdefault(error.code, []).append(row.id)
    return texts, lacking


async def _insert(
    uow: UnitOfWork,
    order: ClaimOrder,
    texts: list[tuple[Row[Any], str]],
    *,
    line: Row[Any],
    times: SendTimes,
    now: datetime,
) -> list[Claimed]:
    if not texts:
        return []
    token = uuid4()
    wanted = [_wanted(order, row, body) for row, body in texts]
    cap_texts, cap_days = order.frequency_cap or _NO_CAP
    got = await queries.claim(
        uow.session,
        wanted,
        cap_texts=cap_texts,
        cap_hours=None if cap_days is None else cap_days * 24,
        campaign_id=order.campaign_id,
        line_id=order.line_id,
        token=token,
        lease_until=now + times.lease,
        min_days=order.min_days_between,
        grace=times.grace_seconds,
        now=now,
    )
    if got:
        await queries.tell_claimed(
            uow.session, got, campaign_id=order.campaign_id, line_id=order.line_id, now=now
        )
    taken = {one.membership_id for one in got}
    left = [row.id for row, _ in texts if row.id not in taken]
    await deriving.derive(uow.session, membership_ids=left, now=now, due_at=now + POSTPONE)
    if left and order.min_days_between is not None:
        await queries.postpone_texted(
            uow.session, membership_ids=left, min_days=order.min_days_between, now=now
        )
    return [
        Claimed(
            attempt_id=one.attempt_id,
            token=token,
            membership_id=one.membership_id,
            campaign_id=order.campaign_id,
            line_id=order.line_id,
            sender=line.phone_number_id,
            phone=one.phone,
            body=one.body,
            is_probe=line.is_probing,
        )
        for one in got
    ]


def _wanted(order: ClaimOrder, row: Row[Any], body: str) -> Wanted:
    max_recent, recent_hours = order.caps.get(row.zone_key, _NO_CAP)
    return Wanted(
        attempt_id=new_id(),
        membership_id=row.id,
        contact_id=row.contact_id,
        phone=row.phone,
        body=body,
        variant=order.compose.variant_of(row),
        not_after=order.open_zones[row.zone_key],
        max_recent=max_recent,
        recent_hours=recent_hours,
    )


async def gate(
    uow: UnitOfWork, batch: Sequence[Claimed], *, times: SendTimes, now: datetime
) -> list[Claimed]:
    """Re-check everything for those about to be called, in one statement; those that may go.

    Only these may be called, and only once the commit is confirmed. The others are to be
    released.
    """
    passed = await queries.gate(
        uow.session,
        ids=[item.attempt_id for item in batch],
        tokens=[item.token for item in batch],
        lease_until=now + times.lease,
        ends_at=now + times.call,
        now=now,
    )
    return [item for item in batch if item.attempt_id in passed]


async def release(uow: UnitOfWork, batch: Sequence[Claimed], *, reason: str, now: datetime) -> None:
    """Give claims back that were never called: no look-up, no try used."""
    rows = await queries.release(
        uow.session,
        ids=[item.attempt_id for item in batch],
        tokens=[item.token for item in batch],
        reason=reason,
        send_after=now + POSTPONE,
        now=now,
    )
    memberships = [row.membership_id for row in rows if row.membership_id is not None]
    await deriving.derive(uow.session, membership_ids=memberships, now=now)
