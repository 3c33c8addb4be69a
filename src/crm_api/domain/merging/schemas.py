"""Merges in and out."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.contacts.schemas import ContactRead, FlaggedContact
from crm_api.domain.merging.models import ContactMerge, MergeCandidate
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

MOST_DUPLICATES = 50


class MergeRequest(RequestModel):
    """Who is one person: the primary stays, the duplicates become further names of it."""

    primary_id: Id
    duplicate_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_DUPLICATES)]


class MergedContactRead(ContactRead):
    """The primary after the merge; ``merge_id`` undoes it, and is null when nothing was to do."""

    merge_id: Id | None
    merged_ids: list[Id]

    @classmethod
    def after(cls, found: FlaggedContact, merge: ContactMerge | None) -> Self:
        """Shape a contact with the merge that just changed it."""
        return cls(
            **ContactRead.of(found).model_dump(),
            merge_id=merge.id if merge else None,
            merged_ids=merge.duplicate_ids if merge else [],
        )


class MergeRead(ReadModel):
    """A merge."""

    id: Id
    primary_id: Id
    duplicate_ids: list[Id]
    merged_by: str
    merged_at: Instant
    undone_by: str | None
    undone_at: Instant | None
    can_be_undone: bool

    @classmethod
    def of(cls, merge: ContactMerge) -> Self:
        """Shape a merge."""
        return cls(
            id=merge.id,
            primary_id=merge.primary_id,
            duplicate_ids=merge.duplicate_ids,
            merged_by=merge.merged_by,
            merged_at=merge.merged_at,
            undone_by=merge.undone_by,
            undone_at=merge.undone_at,
            can_be_undone=merge.snapshot is not None,
        )


class Reason(StrEnum):
    """Why two contacts may be one person."""

    SAME_EMAIL = "same_email"
    SIMILAR_ADDRESS = "similar_address"
    CLOSE_NUMBER = "close_number"


class ReasonRead(ReadModel):
    """A reason, with how much it says: 0 to 100."""

    reason: Reason
    score: int


class CandidateRead(ReadModel):
    """Two contacts that may be one person; ``primary_id`` is the older one."""

    id: Id
    score: int
    reasons: list[ReasonRead]
    primary_id: Id
    contacts: list[ContactRead]
    found_at: Instant

    @classmethod
    def of(cls, row: MergeCandidate, one: FlaggedContact, other: FlaggedContact) -> Self:
        """Shape a pair, the older contact first."""
        pair = sorted((one, other), key=lambda each: (each.contact.created_at, each.contact.id))
        points = {
            Reason.SAME_EMAIL: row.email,
            Reason.SIMILAR_ADDRESS: row.address,
            Reason.CLOSE_NUMBER: row.phone,
        }
        return cls(
            id=row.id,
            score=row.score,
            reasons=[
                ReasonRead(reason=reason, score=score)
                for reason, score in points.items()
                if score is not None
            ],
            primary_id=pair[0].contact.id,
            contacts=[ContactRead.of(each) for each in pair],
            found_at=row.found_at,
        )
