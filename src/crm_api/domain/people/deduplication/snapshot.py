"""The data that a merge stores so that it can be undone."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class ListMembership(BaseModel):
    """A list that a duplicate was on."""

    list_id: UUID
    added_at: datetime


class PropertyPlace(BaseModel):
    """The role of a duplicate at a property."""

    property_id: UUID
    role: str
    added_at: datetime


class DuplicateBefore(BaseModel):
    """A duplicate and its data before the merge.

    Attributes:
        member_ids: The recipients that moved to the primary.
        campaign_ids: Their campaigns.
        alias_ids: The duplicates that were merged into it before.
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
    """The primary before and after a merge, and each duplicate before it.

    Attributes:
        joined_list_ids: Lists that the merge added the primary to.
        joined_property_ids: Properties that the merge attached the primary to.
        member_ids: The primary's own recipients in the campaigns of moved recipients.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    joined_list_ids: list[UUID] = Field(default_factory=list)
    joined_property_ids: list[UUID] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    duplicates: list[DuplicateBefore]
