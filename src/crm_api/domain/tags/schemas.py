"""Tags in and out."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.contacts.schemas import MAX_TAG_LENGTH, ContactFilter, FlagName, Tags
from crm_api.domain.fields import Line200, PhoneNumber, RequestInstant, clean_line
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.tags.models import TagChange

MOST_IDS = 1000
"""Contacts that one request may name."""


def _read_tag(tag: str) -> str:
    cleaned = clean_line(tag)
    if not 1 <= len(cleaned) <= MAX_TAG_LENGTH:
        raise PydanticCustomError(
            "tag_length", "A tag has 1 to {limit} characters.", {"limit": MAX_TAG_LENGTH}
        )
    return cleaned


TagName = Annotated[str, AfterValidator(_read_tag)]


class PeopleFilter(RequestModel):
    """Whose tags change: all that is given must hold, as in the list of contacts."""

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
        """Return the filter of the list of contacts."""
        return ContactFilter(**self.model_dump())


class TagsRequest(RequestModel):
    """Which tags to put on and take off whom; an empty filter means everybody."""

    add: Tags = Field(default_factory=list)
    remove: Tags = Field(default_factory=list)
    contact_ids: Annotated[list[Id] | None, Field(min_length=1, max_length=MOST_IDS)] = None
    filter: PeopleFilter | None = None
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.add and not self.remove:
            raise PydanticCustomError("no_tags", "Name a tag in add or in remove.")
        if not set(self.add).isdisjoint(self.remove):
            raise PydanticCustomError("tag_twice", "A tag is in add and in remove.")
        return self


class TagRename(RequestModel):
    """Another name for a tag; whoever has both keeps one."""

    name: TagName


class TagRead(ReadModel):
    """A tag and how many contacts have it; ``counted_at`` is null when that is of this moment."""

    tag: str
    contact_count: int
    counted_at: Instant | None


class TagChangeRead(ReadModel):
    """A change of tags; ``id`` is null for a dry run, which only counts who fits.

    Attributes:
        matched: Who was looked at.
        changed: Whose tags are others now.
        refused: Who would have too many tags, and was left alone.
    """

    id: Id | None
    status: str
    add: list[str]
    remove: list[str]
    matched: int
    changed: int
    refused: int
    created_at: Instant | None
    finished_at: Instant | None

    @classmethod
    def of(cls, change: TagChange) -> Self:
        """Shape a change."""
        return cls.model_validate(change)

    @classmethod
    def counted(cls, body: TagsRequest, matched: int) -> Self:
        """Shape a dry run."""
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
