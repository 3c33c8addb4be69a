"""Request and response models of merges."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import CONTACT, example, example_id
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.people.contacts.schemas import ContactRead, FlaggedContact
from crm_api.domain.people.models.deduplication import ContactMerge, MergeCandidate

MOST_DUPLICATES = 50


class MergeRequest(DryRunRequest):
    """Contacts that are one person: the primary stays, the duplicates become its aliases.

    Attributes:
        primary_id: The id of the contact that stays.
        duplicate_ids: The ids of the contacts that are merged into the primary.
    """

    model_config = example(primary_id=CONTACT, duplicate_ids=[example_id("second_contact")])

    primary_id: Id
    duplicate_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_DUPLICATES)]


class MergedContactRead(ContactRead, DryRunRead):
    """The primary contact after the merge; ``merge_id`` is needed to undo it.

    ``merge_id`` is null if nothing was merged. In a dry run it is null too, and the contact is
    shown as it would be.

    Attributes:
        merged_ids: The ids of the contacts that were merged into it.
    """

    model_config = example(ContactRead, token=None, id=CONTACT)

    merge_id: Id | None
    merged_ids: list[Id]

    @classmethod
    def after(cls, found: FlaggedContact, merge: ContactMerge | None) -> Self:
        """Build the response from a contact and the merge that changed it."""
        return cls(
            **ContactRead.of(found).model_dump(),
            merge_id=merge.id if merge else None,
            merged_ids=merge.duplicate_ids if merge else [],
            counts={"merged": len(merge.duplicate_ids) if merge else 0},
        )


class MergeRead(ReadModel):
    """A merge.

    Attributes:
        primary_id: The id of the contact that stays.
        duplicate_ids: The ids of the contacts that are merged into the primary.
        merged_by: The API key or the user who merged them.
        merged_at: When they were merged.
        undone_by: The API key or the user who undid it; null otherwise.
        undone_at: When it was undone; null otherwise.
        can_be_undone: Whether the merge can be undone.
    """

    model_config = example(merged_by="olga@granite.example.com", can_be_undone=True)

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
        """Build the response from a merge."""
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


class MergeReason(StrEnum):
    """Why two contacts may be one person."""

    SAME_EMAIL = "same_email"
    SIMILAR_ADDRESS = "similar_address"
    CLOSE_NUMBER = "close_number"


class MergeReasonRead(ReadModel):
    """A reason and its score, 0 to 100.

    Attributes:
        reason: The fact that the two contacts share.
        score: How certain it is, from 0 to 100.
    """

    model_config = example(score=80)

    reason: MergeReason
    score: int


class CandidateRead(ReadModel):
    """Two contacts that may be one person; ``primary_id`` is the older one.

    Attributes:
        score: How certain it is, from 0 to 100.
        reasons: Why the two contacts look like the same person.
        primary_id: The id of the contact that stays.
        contacts: The contacts.
        found_at: When it was found.
    """

    model_config = example(score=80)

    id: Id
    score: int
    reasons: list[MergeReasonRead]
    primary_id: Id
    contacts: list[ContactRead]
    found_at: Instant

    @classmethod
    def of(cls, row: MergeCandidate, one: FlaggedContact, other: FlaggedContact) -> Self:
        """Build the response from a pair; the older contact comes first."""
        pair = sorted((one, other), key=lambda each: (each.contact.created_at, each.contact.id))
        points = {
            MergeReason.SAME_EMAIL: row.email,
            MergeReason.SIMILAR_ADDRESS: row.address,
            MergeReason.CLOSE_NUMBER: row.phone,
        }
        return cls(
            id=row.id,
            score=row.score,
            reasons=[
                MergeReasonRead(reason=reason, score=score)
                for reason, score in points.items()
                if score is not None
            ],
            primary_id=pair[0].contact.id,
            contacts=[ContactRead.of(each) for each in pair],
            found_at=row.found_at,
        )
