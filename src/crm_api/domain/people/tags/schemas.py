"""Request and response models of tags."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Line200, PhoneNumber, RequestInstant, read_line
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.contacts.schemas import MAX_TAG_LENGTH, ContactFilter, FlagName, Tags

MOST_IDS = 1000
"""Largest number of contact ids in one request."""


def _read_tag(tag: str) -> str:
    cleaned = read_line(tag)
    if not 1 <= len(cleaned) <= MAX_TAG_LENGTH:
        raise PydanticCustomError(
            "tag_length", "A tag has 1 to {limit} characters.", {"limit": MAX_TAG_LENGTH}
        )
    return cleaned


TagName = Annotated[str, AfterValidator(_read_tag)]


class PeopleFilter(RequestModel):
    """Selects the contacts whose tags change. A contact must match every given condition.

    Attributes:
        q: Words that must all occur in the name, phone number, e-mail address or company.
        phone: Only the contact with this phone number.
        tag: Only contacts with this tag.
        list_id: Only contacts on the list with this id.
        opted_out: Only contacts whose number is opted out (true) or not opted out (false).
        created_after: Only contacts created later than this instant.
        created_before: Only contacts created earlier than this instant.
        updated_after: Only contacts changed later than this instant.
        state: Only contacts in this state, given as code or name.
        city: Only contacts in this city. Case and accents are ignored.
        has_email: Only contacts with an e-mail address (true) or without one (false).
        flag: Only contacts whose number has this flag now.
    """

    q: Line200 = ""
    phone: PhoneNumber | None = None
    tag: Line200 | None = None
    list_id: UUID | None = None
    opted_out: StrictBool | None = None
    created_after: RequestInstant | None = None
    created_before: RequestInstant | None = None
    updated_after: RequestInstant | None = None
    state: Line200 | None = None
    city: Line200 | None = None
    has_email: StrictBool | None = None
    flag: FlagName | None = None

    def wanted(self) -> ContactFilter:
        """Convert the conditions to a ``ContactFilter``."""
        return ContactFilter(**self.model_dump())


class TagsRequest(RequestModel):
    """Tags to add and to remove, and the contacts: give either ``contact_ids`` or ``filter``.

    Attributes:
        add: The tags to add.
        remove: The tags to remove.
        contact_ids: The ids of the contacts.
        filter: Selects the contacts. An empty filter selects every contact.
        dry_run: True: count the contacts, and change nothing.
    """

    model_config = example(add=["homeowner"], filter={"city": "Quincy"})

    add: Tags = Field(default_factory=list)
    remove: Tags = Field(default_factory=list)
    contact_ids: Annotated[list[Id] | None, Field(min_length=1, max_length=MOST_IDS)] = None
    filter: PeopleFilter | None = None
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.add and not self.remove:
            raise PydanticCustomError("no_tags", "Give at least one tag in `add` or `remove`.")
        if not set(self.add).isdisjoint(self.remove):
            raise PydanticCustomError(
                "tag_twice", "A tag is in both `add` and `remove`. Remove it from one of them."
            )
        return self


class TagRename(RequestModel):
    """A new name for a tag.

    If a contact already has a tag with the new name, the old tag is removed from the contact.
    """

    model_config = example(name="house owner")

    name: TagName


class TagRead(ReadModel):
    """A tag, and the number of contacts that have it.

    Attributes:
        tag: The name of the tag.
        contact_count: The number of contacts that have the tag.
        counted_at: When the contacts were counted; null if they were counted for this response.
    """

    model_config = example(tag="homeowner")

    tag: str
    contact_count: int
    counted_at: Instant | None


class ShownTagChangeStatus(StrEnum):
    """The state of a tag change.

    Attributes:
        RUNNING: The change is in progress.
        COMPLETED: The change is finished.
        DRY_RUN: A dry run counted the contacts; nothing was changed.
    """

    RUNNING = "running"
    COMPLETED = "completed"
    DRY_RUN = "dry_run"


class TagChangeRead(ReadModel):
    """A change of the tags of many contacts, and its progress.

    Attributes:
        id: The id of the change; null for a dry run.
        add: The tags that the change adds.
        remove: The tags that the change removes.
        matched: The number of contacts processed so far; in a dry run, the number to process.
        changed: The number of contacts whose tags changed.
        refused: The number of unchanged contacts that would have too many tags.
        created_at: When the change was requested; null for a dry run.
        finished_at: When the last contact was processed; null until then.
    """

    model_config = example(
        status="completed", add=["homeowner"], remove=[], matched=240, changed=228
    )

    id: Id | None
    status: Annotated[str, Vocabulary(ShownTagChangeStatus, "TagChangeStatus")]
    add: list[str]
    remove: list[str]
    matched: int
    changed: int
    refused: int
    created_at: Instant | None
    finished_at: Instant | None

    @classmethod
    def counted(cls, body: TagsRequest, matched: int) -> Self:
        """Build the response of a dry run, which counts the contacts and changes nothing."""
        return cls(
            id=None,
            status="dry_run",
            add=body.add,
            remove=body.remove,
            matched=matched,
            changed=0,
            refused=0,
            created_at=None,
            finished_at=None,
        )
