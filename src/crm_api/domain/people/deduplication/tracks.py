"""Decide which of several merged contacts continues with a campaign.

Only one of the contacts continues, so that the person does not get the same message at two phone
numbers. Waiting messages of the others are not sent. The rows of one contact in one campaign are
called the contact's *track*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from crm_api.domain.messaging.sends.vocabulary import MembershipStatus

WAITING = frozenset({MembershipStatus.PENDING, MembershipStatus.REVIEW, MembershipStatus.HELD})
UNDER_WAY = frozenset({MembershipStatus.SENDING, MembershipStatus.UNKNOWN})
_MAYBE_SENT = UNDER_WAY | {MembershipStatus.SENT, MembershipStatus.DELIVERED}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A recipient: one contact and one message of a campaign (a row of ``campaign_membership``)."""

    id: UUID
    campaign_id: UUID
    step: int
    contact_id: UUID
    phone: str
    status: str
    sent_at: datetime | None

    @property
    def is_maybe_sent(self) -> bool:
        """True if the message was sent, or may have been sent, even if it was not delivered."""
        return self.status in _MAYBE_SENT or self.sent_at is not None


@dataclass(kw_only=True)
class TrackVerdict:
    """The ids of the recipients that a merge of contacts changes, by kind of change.

    Attributes:
        skipped: Recipients whose waiting message is not sent, so that the person does not get it
            twice.
        ended: Recipients whose message is being sent, or was perhaps sent. It is not sent again,
            and no follow-up is sent.
        moved: Recipients that are assigned to the primary contact and keep their phone number.
        following: Recipients that are assigned to the primary contact and get its phone number.
    """

    skipped: list[UUID] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)
    moved: list[UUID] = field(default_factory=list)
    following: list[UUID] = field(default_factory=list)


def judge_tracks(
    members: Sequence[Member], *, heads: Mapping[UUID, UUID], order: Sequence[UUID], phone: str
) -> TrackVerdict:
    """Decide how a merge of contacts changes the campaign recipients of these contacts.

    After the changes, the person does not get the same message at two phone numbers.

    Args:
        members: The recipients of the contacts to merge, and all other recipients with the phone
            numbers of these contacts.
        heads: Maps each id to the id of a contact to merge: the id of such a contact to itself, and
            the id of an earlier duplicate to the contact that it was merged into.
        order: The ids of the contacts to merge, the primary first.
        phone: The primary's number.
    """
    verdict = TrackVerdict()
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
    verdict: TrackVerdict,
) -> None:
    tracks: dict[UUID, list[Member]] = {}
    for row in rows:
        if row.contact_id in heads:
            tracks.setdefault(heads[row.contact_id], []).append(row)
    if not tracks:
        return
    keeper = max(tracks, key=lambda head: _standing(tracks[head], order.index(head)))
    sent_steps = {
        row.step
        for head, track in tracks.items()
        for row in track
        if head != keeper and row.is_maybe_sent
    }
    for head, track in tracks.items():
        for row in track:
            _judge_row(
                row, continues=head == keeper and row.step not in sent_steps, verdict=verdict
            )
    if keeper != order[0]:
        _move_track(tracks[keeper], rows, primary_id=order[0], phone=phone, verdict=verdict)


def _standing(track: Sequence[Member], place: int) -> tuple[int, bool, bool, int]:
    """Return the rank of a track; the track with the highest rank continues.

    Tracks are compared by these properties. If two tracks are equal in one property, the next
    property decides.

    1. The step of the last message that was sent, or was perhaps sent: the higher step wins.
    2. The contact: the track of the primary wins.
    3. A message that is waiting, being sent or unclear: a track with such a message wins.
    4. ``place`` (the position of the contact; 0 is the primary): the lower place wins.
    """
    furthest = max((row.step for row in track if row.is_maybe_sent), default=-1)
    is_open = any(row.status in WAITING | UNDER_WAY for row in track)
    return furthest, place == 0, is_open, -place


def _judge_row(row: Member, *, continues: bool, verdict: TrackVerdict) -> None:
    if continues:
        return
    if row.status in WAITING:
        verdict.skipped.append(row.id)
    elif row.status in UNDER_WAY:
        verdict.ended.append(row.id)


def _move_track(
    track: Sequence[Member],
    rows: Sequence[Member],
    *,
    primary_id: UUID,
    phone: str,
    verdict: TrackVerdict,
) -> None:
    """Plan which rows of a track move to the primary contact; skip waiting rows that cannot move.

    ``rows`` are all rows of the campaign. A row does not move if the primary already has a row for
    the same step. A waiting row also does not move if the same step already has a row with the
    number ``phone``.
    """
    taken = {row.step for row in rows if row.contact_id == primary_id}
    taken_numbers = {row.step for row in rows if row.phone == phone}
    done = {*verdict.skipped, *verdict.ended}
    for row in track:
        is_free = row.step not in taken
        continues = row.status in WAITING | UNDER_WAY and row.id not in done
        if continues and is_free and row.step not in taken_numbers:
            verdict.following.append(row.id)
        elif is_free and row.status not in WAITING:
            verdict.moved.append(row.id)
        elif continues and row.status in WAITING:
            verdict.skipped.append(row.id)
        taken.add(row.step)
