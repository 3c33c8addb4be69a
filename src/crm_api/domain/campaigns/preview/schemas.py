"""Request and response models of previews and test messages."""

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
    """The message that one contact would get.

    Attributes:
        contact_id: The id of the contact.
        phone: The phone number of the contact, in E.164.
        variant: The name of the contact's variant.
        text: The rendered message; null if it cannot be rendered.
        encoding: ``GSM-7``, or ``UCS-2`` if a character needs it; null without a message.
        segments: The number of SMS segments. The provider charges for each segment.
        cost: The cost of the message in dollars, as a decimal in a string.
        skip_reason: Why the contact would get no message; null if it would get a message.
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
    """Sums over the rendered messages of one variant.

    Attributes:
        name: The name of the variant.
        texts: The number of rendered messages.
        encoding: ``UCS-2`` if at least one message needs it, otherwise ``GSM-7``.
        texts_in_ucs_2: The number of messages that need UCS-2.
        segments: The number of SMS segments of all messages together.
        segments_min: The smallest number of segments of a message; 0 without messages.
        segments_max: The largest number of segments of a message; 0 without messages.
        cost: The cost of all messages in dollars, as a decimal in a string.
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
    """A character that the encoding GSM-7 does not have.

    A message with this character needs UCS-2 and costs about twice as much.

    Attributes:
        character: The character.
        code_point: The Unicode code point of the character, such as ``U+2019``.
        variant: The name of the variant whose messages contain the character.
        source: Where the character is: in the body, in the footer, or in values of contacts.
        position: The index in the body or the footer, from 0; null for values of contacts.
        texts: The number of messages that contain the character.
    """

    character: str
    code_point: str
    variant: str
    source: Literal["body", "footer", "value"]
    position: int | None
    texts: int


class LackingContact(ReadModel):
    """A contact that would be skipped, because it lacks a value that the message needs.

    Attributes:
        contact_id: The id of the contact.
        phone: The phone number of the contact, in E.164.
        variable: The variable for which the contact has no value; null if the whole message would
            be empty for this contact.
    """

    model_config = example(variable="first_name")

    contact_id: Id
    phone: str
    variable: str | None


class MissingValues(ReadModel):
    """The contacts that would be skipped, because they lack a value that the message needs.

    Attributes:
        count: The number of these contacts.
        by_variable: The number of these contacts, by missing variable.
        contacts: Up to 50 of these contacts.
    """

    model_config = example(count=1, by_variable={"first_name": 1})

    count: int
    by_variable: dict[str, int]
    contacts: list[LackingContact]


class PreviewRecipients(ReadModel):
    """What would happen to the contacts of the audience if the campaign were started now.

    Attributes:
        total: The number of contacts in the audience.
        would_be_texted: The number of contacts that would get a message.
        review: The number of contacts that already got a message. A user must approve them.
        held: The number of contacts on hold until a user checks a reply.
        skipped: The number of contacts that would be skipped, by skip reason.
    """

    model_config = example(total=240, would_be_texted=231, review=4, skipped={"opted_out": 5})

    total: int
    would_be_texted: int
    review: int
    held: int
    skipped: dict[str, int]


class PreviewWarning(ReadModel):
    """A required part that is missing in the first message of a campaign.

    A service with legal rules refuses to start this campaign.

    Attributes:
        code: ``sender_not_named``, or ``no_way_to_stop`` if the message does not say how to opt
            out.
        variant: The name of the variant whose message lacks the part.
        detail: What is missing, and what to do.
    """

    code: str
    variant: str | None
    detail: str


class CampaignPreview(ReadModel):
    """The messages that a campaign would send if it were started now, and their cost.

    The sums include messages that need a review first. At most the first 100,000 contacts are
    rendered. If the audience is larger, only ``recipients`` is about the whole audience.

    Attributes:
        samples: The messages that some of the contacts would get.
        variants: The sums of each variant.
        encoding: ``UCS-2`` if at least one message needs it, otherwise ``GSM-7``.
        segments: The number of segments of all messages. The provider charges for each segment.
        cost: The cost of all messages in dollars, as a decimal in a string.
        forcing_characters: The characters for which messages need UCS-2, which costs more.
        missing_values: The contacts that would be skipped, because they lack a value.
        recipients: What would happen to the contacts of the audience.
        warnings: The required parts that are missing in the first message.
        texts_rendered: The number of messages that were rendered for the preview.
        is_partial: True if messages were rendered for only a part of the audience.
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
    """Which messages a preview shows. The sums of the preview do not depend on this choice.

    Attributes:
        limit: The maximum number of messages in ``samples``.
        contact_ids: The ids of the contacts whose messages are shown, instead of the first contacts
            of the audience. ``limit`` is then ignored.
    """

    model_config = example(limit=3)

    limit: int = Field(default=10, ge=1, le=MAX_SAMPLES)
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_SAMPLES)


class DraftPreview(CampaignCreate, PreviewRequest):
    """A campaign to preview without storing it, and the choice of the messages to show."""

    model_config = example(CampaignCreate, limit=3)


class TrialRequest(RequestModel):
    """A request for a test message.

    Attributes:
        to: The phone number that gets the test message: another line of the company, or a number
            in ``test_numbers`` of the settings.
        variant: The name of the variant that is sent; by default, the first variant.
    """

    model_config = example(to="+16175550101", variant="Short")

    to: PhoneNumber
    variant: str | None = None
