"""Request and response models of costs."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from crm_api.domain.insight.costs.models import CostKind
from crm_api.domain.kit.examples import LIST, NOW, example
from crm_api.domain.kit.fields import OptionalLine200, RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.sales.outcomes.models import CURRENCY
from crm_api.domain.sales.outcomes.schemas import MOST_CENTS, CurrencyCode


class CostCreate(RequestModel):
    """A cost to enter.

    Attributes:
        kind: What was paid for.
        amount_cents: The amount in cents, more than 0.
        currency: The currency of the amount: `USD`.
        incurred_at: When the cost was paid. The default is now.
        campaign_id: The campaign for which the cost was paid; null if none.
        list_id: The list for which the cost was paid; null if none.
        note: A note, in one line of text.
    """

    model_config = example(
        kind="list_price",
        amount_cents=48000,
        incurred_at="2026-11-30T14:00:00Z",
        list_id=LIST,
        note="2,400 rows",
    )

    kind: CostKind
    amount_cents: Annotated[int, Field(strict=True, ge=1, le=MOST_CENTS)]
    currency: CurrencyCode = CURRENCY
    incurred_at: RequestInstant | None = None
    campaign_id: UUID | None = None
    list_id: UUID | None = None
    note: OptionalLine200 = None


class CostRead(ReadModel):
    """A cost.

    Attributes:
        kind: What was paid for.
        amount_cents: The amount in cents.
        currency: The currency of the amount.
        incurred_at: When the cost was paid.
        campaign_id: The campaign for which the cost was paid; null if none.
        list_id: The list for which the cost was paid; null if none.
        note: A note; null if none.
        created_by: Who entered the cost.
    """

    model_config = example(
        kind="list_price",
        amount_cents=48000,
        currency=CURRENCY,
        incurred_at=NOW,
        campaign_id=None,
        list_id=LIST,
        note="2,400 rows",
        created_by="olga@granite.example.com",
    )

    id: Id
    kind: Annotated[str, Vocabulary(CostKind)]
    amount_cents: int
    currency: str
    incurred_at: Instant
    campaign_id: Id | None
    list_id: Id | None
    note: str | None
    created_by: str
    created_at: Instant
