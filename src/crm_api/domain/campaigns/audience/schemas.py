"""Request models of the audience of a campaign."""

from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.schemas import RequestModel

MAX_CONTACT_IDS = 10_000
MAX_SOURCES = 50
"""The maximum number of lists, and also of campaigns, that one audience may exclude."""
MAX_SEGMENTS = 10
"""The maximum number of segments that one audience may exclude."""


class Exclusion(RequestModel):
    """The contacts that are left out of the audience.

    Attributes:
        list_id: The id of a list whose contacts are left out.
        list_ids: The ids of lists whose contacts are left out.
        segment_ids: The ids of segments whose contacts are left out. The contacts are selected when
            the campaign is started.
        campaign_ids: The ids of other campaigns whose recipients are left out, except those who
            were skipped or cancelled there.
        contact_ids: The ids of contacts that are left out.
    """

    list_id: UUID | None = None
    list_ids: list[UUID] | None = Field(default=None, max_length=MAX_SOURCES)
    segment_ids: list[UUID] | None = Field(default=None, max_length=MAX_SEGMENTS)
    campaign_ids: list[UUID] | None = Field(default=None, max_length=MAX_SOURCES)
    contact_ids: list[UUID] | None = Field(default=None, max_length=MAX_CONTACT_IDS)


class Audience(RequestModel):
    """The contacts that get a campaign: either a list, or a segment, or contacts by id.

    Attributes:
        list_id: The id of the list.
        segment_id: The id of the segment. Its contacts are selected when the campaign is started.
        contact_ids: The ids of the contacts.
        exclude: The contacts that are left out of the audience.
    """

    list_id: UUID | None = None
    segment_id: UUID | None = None
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)
    exclude: Exclusion | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Audience":
        given = [self.list_id, self.segment_id, self.contact_ids]
        if sum(source is not None for source in given) != 1:
            raise PydanticCustomError(
                "one_audience", "Set exactly one of `list_id`, `segment_id` and `contact_ids`."
            )
        return self
