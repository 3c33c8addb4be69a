"""What a preview answers."""

from typing import Literal

from crm_api.domain.campaigns.segments import Encoding
from crm_api.domain.schemas import Id, ReadModel


class SampleText(ReadModel):
    """What one person would get.

    Attributes:
        text: None when it cannot be made for this person; ``skip_reason`` says why.
        skip_reason: Why this person would get nothing, as a recipient would show it.
    """

    contact_id: Id
    phone: str
    variant: str
    text: str | None
    encoding: Encoding | None
    segments: int
    cost: str
    skip_reason: str | None


class VariantPreview(ReadModel):
    """The texts of one wording.

    Attributes:
        encoding: UCS-2 as soon as one of the texts needs it.
        segments: Of all texts together.
        segments_min: Of the shortest; 0 when nobody gets this wording.
        cost: Dollars.
    """

    name: str
    texts: int
    encoding: Encoding
    texts_in_ucs_2: int
    segments: int
    segments_min: int
    segments_max: int
    cost: str


class ForcingCharacter(ReadModel):
    """A character that makes a text twice as dear, since GSM-7 lacks it.

    Attributes:
        source: Where it stands: in the wording, in the footer, or in the values of contacts.
        position: In that wording or footer, counted in characters from 0; None in values.
        texts: How many texts have it.
    """

    character: str
    code_point: str
    variant: str
    source: Literal["body", "footer", "value"]
    position: int | None
    texts: int


class LackingContact(ReadModel):
    """Somebody for whom a value is missing; without ``variable`` the text came out empty."""

    contact_id: Id
    phone: str
    variable: str | None


class MissingValues(ReadModel):
    """Who would be skipped for want of a value; ``contacts`` are the first of them."""

    count: int
    by_variable: dict[str, int]
    contacts: list[LackingContact]


class PreviewRecipients(ReadModel):
    """What would become of the audience, were the campaign started now.

    Attributes:
        review: Texted before; a person would decide.
        held: Wait for somebody to look at a doubtful answer.
        skipped: By reason.
    """

    total: int
    would_be_texted: int
    review: int
    held: int
    skipped: dict[str, int]


class PreviewWarning(ReadModel):
    """Something that a person should look at before the start."""

    code: str
    variant: str | None
    detail: str


class CampaignPreview(ReadModel):
    """What a campaign would send, and what that costs.

    Texts are made for everybody who would be texted or reviewed; past a number that is far above
    what a line sends in a month only the first are, and ``is_partial`` says so: then all but
    ``recipients`` speaks of ``texts_rendered`` texts.
    """

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
