"""Which of several memberships of one person goes on, campaign by campaign.

People who turn out to be one may each be in a campaign: each has a track of it, a row for each
step. At most one track goes on, and no step may reach the person at a second number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from crm_api.domain.campaigns.models import MembershipStatus

WAITING = frozenset({MembershipStatus.PENDING, MembershipStatus.REVIEW, MembershipStatus.HELD})
UNDER_WAY = frozenset({MembershipStatus.SENDING, MembershipStatus.UNKNOWN})
_TEXTED = UNDER_WAY | {MembershipStatus.SENT, MembershipStatus.DELIVERED}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A row of ``campaign_membership``."""

    id: UUID
    campaign_id: UUID
    step: int
    contact_id: UUID
    phone: str
    status: str
    sent_at: datetime | None

    @property
    def is_texted(self) -> bool:
        """The person has, or may have, this step's text; also one that failed on its way."""
        return self.status in _TEXTED or self.sent_at is not None


@dataclass(kw_only=True)
class Verdict:
    """What becomes of the rows.

    Attributes:
        skipped: They wait, and the person has another track.
        ended: They are under way and end with their text: no other try, no next step.
        moved: They are the primary's now, and stay with the number that they were for.
        following: They are the primary's now, and for its number.
    """

    skipped: list[UUID] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)
    moved: list[UUID] = field(default_factory=list)
    following: list[UUID] = field(default_factory=list)


def judge(
    members: Sequence[Member], *, heads: Mapping[UUID, UUID], order: Sequence[UUID], phone: str
) -> Verdict:
    """Decide about all rows of the people who are merged.

    Args:
        members: Also rows of others that have one of their numbers.
        heads: Of each contact, and each that was merged into it before, the contact itself.
        order: The contacts, the primary first.
        phone: The primary's number.
    """
    verdict = Verdict()
    rows = sorted(members, key=lambda row: (row.campaign_id, row.step, row.id))
    for _, group in groupby(rows, key=lambda row: row.campaign_id):
        _judge_campaign(list(group), heads=heads, order=order, phone=phone, verdict=verdict)
    return verdict


def _judge_campaign(
    rows: list[Member],
    *,
    heads: Mapping[UUID, UUID],
    order: Sequence[UUID],
    phone: str,
    verdict: Verdict,
) -> None:
    tracks: dict[UUID, list[Member]] = {}
    for row in rows:
        if row.contact_id in heads:
            tracks.setdefault(heads[row.contact_id], []).append(row)
    if not tracks:
        return
    keeper = max(tracks, key=lambda head: _standing(tracks[head], order.index(head)))
    texted = {
        row.step
        for head, track in tracks.items()
        for row in track
        if head != keeper and row.is_texted
    }
    for head, track in tracks.items():
        for row in track:
            _judge_row(row, goes_on=head == keeper and row.step not in texted, verdict=verdict)
    if keeper != order[0]:
        _hand_over(tracks[keeper], rows, primary_id=order[0], phone=phone, verdict=verdict)


def _standing(track: Sequence[Member], place: int) -> tuple[int, bool, bool, int]:
    """Order tracks: that with the furthest text goes on, else the primary's, else an open one."""
    furthest = max((row.step for row in track if row.is_texted), default=-1)
    is_open = any(row.status in WAITING | UNDER_WAY for row in track)
    return furthest, place == 0, is_open, -place


def _judge_row(row: Member, *, goes_on: bool, verdict: Verdict) -> None:
    if goes_on:
        return
    if row.status in WAITING:
        verdict.skipped.append(row.id)
    elif row.status in UNDER_WAY:
        verdict.ended.append(row.id)


def _hand_over(
    track: Sequence[Member],
    rows: Sequence[Member],
    *,
    primary_id: UUID,
    phone: str,
    verdict: Verdict,
) -> None:
    """Give the track to the primary, as far as it has no row of the step itself."""
    taken = {row.step for row in rows if row.contact_id == primary_id}
    taken_numbers = {row.step for row in rows if row.phone == phone}
    done = {*verdict.skipped, *verdict.ended}
    for row in track:
        is_free = row.step not in taken
        goes_on = row.status in WAITING | UNDER_WAY and row.id not in done
        if goes_on and is_free and row.step not in taken_numbers:
            verdict.following.append(row.id)
        elif is_free and row.status not in WAITING:
            verdict.moved.append(row.id)
        elif goes_on and row.status in WAITING:
            verdict.skipped.append(row.id)
        taken.add(row.step)
