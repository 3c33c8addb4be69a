"""Request and response models of outcomes."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from crm_api.domain.kit.examples import CONTACT, NOW, example
from crm_api.domain.kit.fields import BlankIsNull, PhoneNumber, RequestInstant, Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.sales.outcomes.models import CURRENCY, OutcomeKind, OutcomeSource
from crm_api.domain.sales.outcomes.queries import FoundOutcome

MOST_CENTS = 10**12
"""The largest accepted amount: 10,000,000,000 dollars, in cents. A larger amount is a typing error.
"""
Cents = Annotated[int, Field(strict=True, ge=0, le=MOST_CENTS)]
CurrencyCode = Annotated[str, Text(longest=3, shortest=3)]
ExternalId = Annotated[str, Text(longest=200, shortest=1)]
Name60 = Annotated[str, Text(longest=60, shortest=1)]


class OutcomeCreate(RequestModel):
    """An outcome to record. Give either `contact_id` or `phone`.

    Attributes:
        kind: What happened.
        name: The name of an outcome of the kind `custom`; null for the other kinds.
        contact_id: The contact of the person.
        phone: The phone number of the person. It need not be the number of a contact.
        property_id: The property that the outcome is about; null if none.
        amount_cents: The amount in cents; null if the outcome has no amount.
        currency: The currency; it must be `USD`.
        occurred_at: When the outcome happened; it may be before the first message.
        source: Where the information comes from. The default is `person` for a user, `api` for an
            API key.
        external_id: The id at the source. Each id of a source is recorded once.
    """

    model_config = example(
        kind="invoice_paid",
        contact_id=CONTACT,
        amount_cents=185000,
        occurred_at="2026-11-30T14:00:00Z",
        source="api",
        external_id="INV-1042",
    )

    kind: OutcomeKind
    name: Annotated[Name60 | None, BlankIsNull] = None
    contact_id: UUID | None = None
    phone: PhoneNumber | None = None
    property_id: UUID | None = None
    amount_cents: Cents | None = None
    currency: CurrencyCode = CURRENCY
    occurred_at: RequestInstant
    source: OutcomeSource | None = None
    external_id: Annotated[ExternalId | None, BlankIsNull] = None


class OutcomeRead(ReadModel):
    """An outcome, or the reversal of an outcome.

    Callers without the scope `contacts:read` get null in `contact_id`, `phone`, `property_id`,
    `external_id`, `first_name` and `last_name`.

    Attributes:
        kind: What happened.
        name: The name of an outcome of the kind `custom`.
        contact_id: The person's contact; null if no contact has the number, the person was erased,
            or the scope is missing.
        phone: The phone number of the person; null if the person was erased, the contact was
            deleted, or the scope is missing.
        property_id: The property that the outcome is about; null if none, or the scope is missing.
        amount_cents: The amount in cents, negative in a reversal; null without an amount.
        currency: The currency of the amount.
        occurred_at: When the outcome happened, or when the reversal was recorded.
        source: Where the information comes from.
        external_id: The id at the source; null if none, the person was erased, or the scope is
            missing.
        reverses_id: For a reversal, the id of the reversed outcome; null for an outcome.
        reversed_by_id: The id of the reversal of this outcome; null if it was not reversed.
        recorded_by: Who recorded the outcome or reversal: an API key's name or a user's e-mail
            address.
        first_name: The contact's first name; null if it has none, or `contact_id` is null.
        last_name: The contact's last name; null if it has none, or `contact_id` is null.
    """

    model_config = example(
        kind="invoice_paid",
        name=None,
        contact_id=CONTACT,
        amount_cents=185000,
        currency=CURRENCY,
        occurred_at=NOW,
        source="api",
        external_id="INV-1042",
        reverses_id=None,
        reversed_by_id=None,
        recorded_by="shop",
    )

    id: Id
    kind: Annotated[str, Vocabulary(OutcomeKind)]
    name: str | None
    contact_id: Id | None
    phone: str | None
    property_id: Id | None
    amount_cents: int | None
    currency: str
    occurred_at: Instant
    source: Annotated[str, Vocabulary(OutcomeSource)]
    external_id: str | None
    reverses_id: Id | None
    reversed_by_id: Id | None
    recorded_by: str
    created_at: Instant
    first_name: str | None
    last_name: str | None

    @classmethod
    def of(cls, found: FoundOutcome, *, shows_people: bool) -> Self:
        """Build the response; leave out all data about the person if ``shows_people`` is False."""
        shown = cls.model_validate(found)
        if shows_people:
            return shown
        hidden = ("contact_id", "phone", "first_name", "last_name", "property_id", "external_id")
        return shown.model_copy(update=dict.fromkeys(hidden))
