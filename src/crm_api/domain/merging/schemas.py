"""Merges in and out."""

from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.contacts.schemas import ContactRead, FlaggedContact
from crm_api.domain.merging.models import ContactMerge
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
