"""Response models of previews."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from crm_api.domain.campaigns.schemas import CampaignCreate
from crm_api.domain.kit.examples import SENT, example
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.kit.message_segments import Encoding
from crm_api.domain.kit.schemas import Id, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import SkipReason


class SampleText(ReadModel):
    """The message that one person would get.

    Attributes:
        text: None if it cannot be made for this person; ``skip_reason`` says why.
        encoding: GSM-7, or UCS-2 if a character needs it.
        segments: The number of segments. The provider charges for each segment.
        cost: The cost in dollars, as a decimal in a string.
        skip_reason: Why this person would get nothing, as a recipient would show it.
    """

    model_config = example(text=SENT, segments=1, cost="0.01")

    contact_id: Id
    phone: str
    variant: str
    text: str | None
    encoding: Encoding | None
    segments: int
    cost: str
    skip_reason: Annotated[str, Vocabulary(SkipReason)] | None


class VariantPreview(ReadModel):
    """The messages of one variant.

    Attributes:
        texts: The number of messages.
        encoding: UCS-2 if at least one of the messages needs it.
        texts_in_ucs_2: The number of messages that need UCS-2.
        segments: Of all messages.
        segments_min: Of the shortest message; 0 without any.
        segments_max: The number of segments of the longest message.
        cost: Dollars.
    """

    model_config = example(
        name="Short", texts=240, segments=240, segments_min=1, segments_max=1, cost="2.40"
    )

    name: str
    texts: int
    encoding: Encoding
    texts_in_ucs_2: int
    segments: int
    segments_min: int
    segments_max: int
    cost: str


class ForcingCharacter(ReadModel):
    """A character that GSM-7 lacks, so that the message needs UCS-2 and costs about twice as much.

    Attributes:
        character: The character.
        code_point: The code point, such as ``U+2019``.
        source: Where it is: in the variant's body, in the footer, or in contacts' values.
        position: In the body or footer, counted in characters from 0; None in values.
        texts: Messages that contain it.
    """

    character: str
    code_point: str
    variant: str
    source: Literal["body", "footer", "value"]
    position: int | None
    texts: int


class LackingContact(ReadModel):
    """A contact without a needed value; without ``variable`` the message came out empty.

    Attributes:
        variable: The variable that has no value.
    """

    model_config = example(variable="first_name")

    contact_id: Id
    phone: str
    variable: str | None


class MissingValues(ReadModel):
    """Who would be skipped because a value is missing; ``contacts`` are the first of them.

    Attributes:
        count: The number of contacts that lack a value.
        by_variable: The number of contacts that lack a value, by variable.
        contacts: Some of the contacts that lack a value.
    """

    model_config = example(count=1, by_variable={"first_name": 1})

    count: int
    by_variable: dict[str, int]
    contacts: list[LackingContact]


class PreviewRecipients(ReadModel):
    """What would happen to the audience if the campaign were started now.

    Attributes:
        total: The number of contacts in the audience.
        would_be_texted: The number of contacts that would get a message.
        review: Got a message before; a person must decide.
        held: Wait until a person has checked a doubtful reply.
        skipped: By reason.
    """

    model_config = example(total=240, would_be_texted=231, review=4, skipped={"opted_out": 5})

    total: int
    would_be_texted: int
    review: int
    held: int
    skipped: dict[str, int]


class PreviewWarning(ReadModel):
    """A warning to check before the start."""

    code: str
    variant: str | None
    detail: str


class CampaignPreview(ReadModel):
    """What a campaign would send, and its cost.

    Messages are rendered for all people who would get one or be reviewed. Beyond a limit, far above
    what a line sends in a month, only the first people are rendered and ``is_partial`` is true.
    Then every figure except ``recipients`` is about ``texts_rendered`` messages.

    Attributes:
        samples: The message as some contacts would get it.
        encoding: GSM-7, or UCS-2 if a character needs it.
        segments: The number of segments. The provider charges for each segment.
        cost: The cost in dollars, as a decimal in a string.
        forcing_characters: Characters that make messages UCS-2, and so longer.
        missing_values: Contacts that lack a value that the message needs.
        recipients: How many would get the campaign, and how many would not.
        warnings: Points to check before the start.
        texts_rendered: The number of messages that were rendered for the preview.
        is_partial: Whether only a part of the audience was checked.
    """

    model_config = example(
        segments=240, cost="2.40", forcing_characters=[], warnings=[], texts_rendered=240
    )

    samples: list[SampleText]
    variants: list[VariantPreview]
    encoding: Encoding
    segments: int
    cost: str
    forcing_characters: list[ForcingCharacter]
    missing_values: MissingValues
    recipients: PreviewRecipients
    warnings: list[PreviewWarning]
    texts_rendered: int
    is_partial: bool


MAX_SAMPLES = 50


class PreviewRequest(RequestModel):
    """Which messages a preview shows; its sums always cover the whole audience.

    Attributes:
        limit: How many messages are shown.
        contact_ids: Show these people of the audience instead of the first ones; ``limit`` is then
            ignored.
    """

    model_config = example(limit=3)

    limit: int = Field(default=10, ge=1, le=MAX_SAMPLES)
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_SAMPLES)


class DraftPreview(CampaignCreate, PreviewRequest):
    """A campaign that is not stored, and the messages to show."""

    model_config = example(CampaignCreate, limit=3)


class TrialRequest(RequestModel):
    """The number that gets the test message, and the variant; if left out, the first one.

    Attributes:
        to: The phone number that gets the message.
    """

    model_config = example(to="+16175550101", variant="Short")

    to: PhoneNumber
    variant: str | None = None
