"""What a merge keeps so that it can be undone."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class ListMembership(BaseModel):
    """A list on which a duplicate was."""

    list_id: UUID
    added_at: datetime


class PropertyPlace(BaseModel):
    """What a duplicate was to a property."""

    property_id: UUID
    role: str
    added_at: datetime


class DuplicateBefore(BaseModel):
    """What a duplicate was, and had, before the merge.

    Attributes:
        campaign_ids: Where its track became the primary's, and ``member_ids`` the rows of it.
        alias_ids: What had been merged into it before.
    """

    id: UUID
    phone: str
    content: dict[str, Any]
    lists: list[ListMembership] = Field(default_factory=list)
    properties: list[PropertyPlace] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    conversation_ids: list[UUID] = Field(default_factory=list)
    note_ids: list[UUID] = Field(default_factory=list)
    campaign_ids: list[UUID] = Field(default_factory=list)
    alias_ids: list[UUID] = Field(default_factory=list)


class Snapshot(BaseModel):
    """The primary before and after, and each duplicate before.

    Attributes:
        joined_list_ids: Lists on which the primary came by the merge; properties likewise.
        member_ids: The primary's own rows in the campaigns that it took over.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    joined_list_ids: list[UUID] = Field(default_factory=list)
    joined_property_ids: list[UUID] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    duplicates: list[DuplicateBefore]
