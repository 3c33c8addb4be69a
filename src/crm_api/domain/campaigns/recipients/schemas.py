"""Response model of a campaign's recipients."""

from typing import Annotated

from crm_api.domain.campaigns.recipients.listing import ListedRecipient
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, SkipReason


class RecipientRead(ReadModel):
    """A recipient of a campaign, and the status of the message to this recipient.

    Attributes:
        id: The id of the recipient.
        contact_id: The id of the contact that is the recipient.
        name: The contact's present name; null if the contact has none.
        phone: The phone number that gets the message, in E.164.
        step: 0 for the first message of the campaign, 1 for the first follow-up, and so on.
        status: The status of the message to the recipient.
        variant: The name of the recipient's variant.
        attempts: The number of attempts so far.
        skip_reason: Why the recipient was skipped; null if it was not skipped.
        error_code: The code of the failure; null if the message did not fail.
        message_id: The id as in `GET /v1/messages/{id}`; null before the first attempt.
        body: The message as it was sent to this recipient; null before the first attempt.
        provider_message_id: The id of the message at the provider; null until the message was sent.
        sent_at: When the message was sent; null until then.
        delivered_at: When the message was delivered; null until then.
        replied_at: When the person first replied; null until then.
        opted_out_at: When the person opted out; null until then.
    """

    model_config = example(
        name="Ada Rossi",
        step=0,
        status="delivered",
        body="Hi Ada, Granite Foundations here. Reply STOP to opt out.",
        delivered_at="2026-11-30T14:05:15.000Z",
    )

    id: Id
    contact_id: Id
    name: str | None
    phone: str
    step: int
    status: MembershipStatus
    variant: str
    attempts: int
    skip_reason: Annotated[str, Vocabulary(SkipReason)] | None
    error_code: str | None
    message_id: Id | None
    body: str | None
    provider_message_id: str | None
    sent_at: Instant | None
    delivered_at: Instant | None
    replied_at: Instant | None
    opted_out_at: Instant | None

    @classmethod
    def of(cls, found: ListedRecipient) -> "RecipientRead":
        """Build the response model from a stored recipient."""
        own: dict[str, object] = {
            "name": found.name,
            "body": found.body,
            "variant": found.variant,
            "message_id": found.member.activity_id,
        }
        fields = {name: getattr(found.member, name) for name in cls.model_fields if name not in own}
        return cls.model_validate({**fields, **own})
