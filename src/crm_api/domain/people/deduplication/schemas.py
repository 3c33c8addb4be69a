"""Request and response models of merges and merge candidates."""

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
    """Contacts to merge because they are one person.

    Attributes:
        primary_id: The id of the primary contact. This contact stays, and gets the data of the
            other contacts.
        duplicate_ids: The ids of the contacts that are merged into the primary.
    """

    model_config = example(primary_id=CONTACT, duplicate_ids=[example_id("second_contact")])

    primary_id: Id
    duplicate_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_DUPLICATES)]


class MergedContactRead(ContactRead, DryRunRead):
    """The primary contact as it is after the merge; in a dry run, as it would be after the merge.

    Attributes:
        merge_id: The id of the merge, to undo it. Null in a dry run, or if nothing was merged.
        merged_ids: The ids of the contacts merged into the primary contact.
    """

    model_config = example(ContactRead, token=None, id=CONTACT)

    merge_id: Id | None
    merged_ids: list[Id]

    @classmethod
    def after(cls, found: FlaggedContact, merge: ContactMerge | None) -> Self:
        """Build the response from the primary contact and the merge.

        ``merge`` is None if nothing was merged.
        """
        return cls(
            **ContactRead.of(found).model_dump(),
            merge_id=merge.id if merge else None,
            merged_ids=merge.duplicate_ids if merge else [],
            counts={"merged": len(merge.duplicate_ids) if merge else 0},
        )


class MergeRead(ReadModel):
    """A merge of duplicates into a primary contact.

    Attributes:
        primary_id: The id of the primary contact.
        duplicate_ids: The ids of the contacts merged into the primary contact.
        merged_by: The name of the API key, or the e-mail address of the user, that merged them.
        merged_at: When the contacts were merged.
        undone_by: The API key or the user that undid the merge; null if it was not undone.
        undone_at: When the merge was undone; null if it was not undone.
        can_be_undone: True if the merge can still be undone.
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


class MergeReason(StrEnum):
    """Why two contacts may be one person."""

    SAME_EMAIL = "same_email"
    SIMILAR_ADDRESS = "similar_address"
    CLOSE_NUMBER = "close_number"


class MergeReasonRead(ReadModel):
    """One reason why two contacts may be one person.

    Attributes:
        reason: What the two contacts have in common.
        score: How strongly this reason suggests that the two contacts are one person, from 0 to
            100.
    """

    model_config = example(score=80)

    reason: MergeReason
    score: int


class CandidateRead(ReadModel):
    """Two contacts that may be one person, and that a user can merge.

    Attributes:
        score: How likely the two contacts are one person, from 0 to 100.
        reasons: Why the two contacts may be one person.
        primary_id: The id of the older contact, the proposed primary contact.
        contacts: The two contacts, the older one first.
        found_at: When the service found the pair.
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
        """Build the response from a merge candidate: two contacts that may be one person.

        The older contact comes first.
        """
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
