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
from crm_api.domain.people.models.tags import TagChange

MOST_IDS = 1000
"""Most contacts that one request may name."""


def _read_tag(tag: str) -> str:
    cleaned = read_line(tag)
    if not 1 <= len(cleaned) <= MAX_TAG_LENGTH:
        raise PydanticCustomError(
            "tag_length", "A tag has 1 to {limit} characters.", {"limit": MAX_TAG_LENGTH}
        )
    return cleaned


TagName = Annotated[str, AfterValidator(_read_tag)]


class PeopleFilter(RequestModel):
    """The contacts whose tags change; every given condition must match, as in the contact list.

    Attributes:
        q: Any part of the name, phone number, e-mail address or company.
        tag: The tag.
        opted_out: Whether the number is opted out.
        created_after: Created later than this instant.
        created_before: Created earlier than this instant.
        updated_after: Changed later than this instant.
        has_email: True: contacts with an e-mail address; false: contacts without.
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
        """Return the equivalent filter of the contact list."""
        return ContactFilter(**self.model_dump())


class TagsRequest(RequestModel):
    """The tags to add and remove, and the contacts; an empty filter means all contacts.

    Attributes:
        add: The tags to add.
        remove: The tags to remove.
        filter: The contacts whose tags change. An empty filter means every contact.
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
            raise PydanticCustomError("no_tags", "Give a tag in add or in remove.")
        if not set(self.add).isdisjoint(self.remove):
            raise PydanticCustomError(
                "tag_twice", "A tag is in both add and remove; leave it out of one."
            )
        return self


class TagRename(RequestModel):
    """A new name for a tag; a contact with both tags keeps one."""

    model_config = example(name="house owner")

    name: TagName


class TagRead(ReadModel):
    """A tag and its number of contacts; ``counted_at`` is null if it was counted just now.

    Attributes:
        tag: The tag.
        contact_count: The number of contacts.
        counted_at: When the contacts were counted.
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
    """A tag change; ``id`` is null for a dry run, which only counts the matching contacts.

    Attributes:
        add: The tags to add.
        remove: The tags to remove.
        matched: Contacts that were processed.
        changed: Contacts whose tags changed.
        refused: Contacts that would have too many tags and were not changed.
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
    def of(cls, change: TagChange) -> Self:
        """Build the response from a tag change."""
        return cls.model_validate(change)

    @classmethod
    def counted(cls, body: TagsRequest, matched: int) -> Self:
        """Build the response of a dry run."""
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
