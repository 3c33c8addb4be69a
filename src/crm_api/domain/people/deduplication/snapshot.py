"""The data that a merge of contacts stores, so that the merge can be undone."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class ListMembership(BaseModel):
    """A list that a duplicate was on before the merge."""

    list_id: UUID
    added_at: datetime


class PropertyPlace(BaseModel):
    """A property that a duplicate belonged to before the merge."""

    property_id: UUID
    role: str
    added_at: datetime


class DuplicateBefore(BaseModel):
    """A duplicate and its data before the merge.

    Attributes:
        member_ids: The ids of the duplicate's campaign recipients (rows of
            ``campaign_membership``) that the merge moved to the primary.
        campaign_ids: The campaigns of the recipients in ``member_ids``.
        alias_ids: Contacts that were merged into this duplicate earlier, before this merge.
    """

    id: UUID
    phone: str
    content: dict[str, Any]
    lists: list[ListMembership] = Field(default_factory=list)
    properties: list[PropertyPlace] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    conversation_ids: list[UUID] = Field(default_factory=list)
    note_ids: list[UUID] = Field(default_factory=list)
    task_ids: list[UUID] = Field(default_factory=list)
    appointment_ids: list[UUID] = Field(default_factory=list)
    quote_ids: list[UUID] = Field(default_factory=list)
    invoice_ids: list[UUID] = Field(default_factory=list)
    campaign_ids: list[UUID] = Field(default_factory=list)
    alias_ids: list[UUID] = Field(default_factory=list)


class Snapshot(BaseModel):
    """The data of contacts before a merge, and of the primary after the merge.

    A merge joins several contacts. The primary is the contact that remains. The others are the
    duplicates.

    Attributes:
        joined_list_ids: The lists to which the merge added the primary.
        joined_property_ids: The properties to which the merge added the primary.
        member_ids: The ids of the recipients that belonged to the primary before the merge. Only
            campaigns in which the merge moved recipients of a duplicate to the primary are
            included.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    joined_list_ids: list[UUID] = Field(default_factory=list)
    joined_property_ids: list[UUID] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    duplicates: list[DuplicateBefore]
