"""Request and response models of attribution rules and credits."""

from datetime import datetime
from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.insight.attribution.credits import RuleSet
from crm_api.domain.insight.attribution.models import AttributionModel, TouchClass
from crm_api.domain.insight.attribution.preview import CreditSum, RulesPreview
from crm_api.domain.insight.attribution.rules import AddedRules
from crm_api.domain.insight.attribution.runs import CreditRow
from crm_api.domain.kit.examples import CAMPAIGN, NOW, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary

MOST_HOURS = 8_760
"""The largest number of hours in a window: one year. Older messages do not explain an outcome."""
WINDOWS = {"replied": 2160, "called": 2160, "delivered": 0}
WindowHours = Annotated[int, Field(strict=True, ge=0, le=MOST_HOURS)]


class AttributionWindows(RequestModel):
    """How long after a reply, call or delivery an outcome is credited to a message, in hours.

    An outcome is, for example, a booked appointment.

    Attributes:
        replied: Hours after the person replied to the message. With 0, replies do not count.
        called: Hours after the person called. With 0, calls do not count.
        delivered: Hours after the delivery. With 0, the default, deliveries do not count. A
            delivery counts only for a message without a credit for a reply or call. A value above 0
            may credit outcomes that would have happened without the message.
    """

    model_config = example(**WINDOWS)

    replied: WindowHours = 2160
    called: WindowHours = 2160
    delivered: WindowHours = 0


class AttributionRulesCreate(RequestModel):
    """New attribution rules.

    Attributes:
        model: How an outcome is divided among the messages that may be credited.
        windows: Within how many hours after a reply, a call or a delivery an outcome is credited.
    """

    model_config = example(model="linear", windows=WINDOWS)

    model: AttributionModel
    windows: AttributionWindows = AttributionWindows()

    def hours(self) -> dict[TouchClass, int]:
        """Return ``windows`` as a dictionary; ``{TouchClass.REPLIED: 720}`` means 720 hours."""
        return {one: int(getattr(self.windows, one.value)) for one in TouchClass}

    def rule_set(self) -> RuleSet:
        """Return these rules as a rule set without a version number, for a preview."""
        return RuleSet(version=0, model=self.model, windows=self.hours())


class AttributionWindowsRead(ReadModel):
    """How long after a reply, call or delivery an outcome can be credited to a message, in hours.

    Attributes:
        replied: Hours after the person replied to the message. With 0, replies do not count.
        called: Hours after the person called. With 0, calls do not count.
        delivered: Hours after the delivery of the message. With 0, deliveries do not count.
    """

    model_config = example(**WINDOWS)

    replied: int
    called: int
    delivered: int


class AttributionRulesRead(ReadModel):
    """A version of the attribution rules. Versions never change.

    Attributes:
        version: The number of the version. The highest number is the current version.
        model: How an outcome is divided among the messages that may be credited.
        windows: Within how many hours after a reply, call or delivery an outcome is credited.
        created_by: Who added the version.
    """

    model_config = example(version=2, model="linear", windows=WINDOWS, created_by="shop")

    version: int
    model: Annotated[str, Vocabulary(AttributionModel)]
    windows: AttributionWindowsRead
    created_by: str
    created_at: Instant

    @classmethod
    def of(cls, known: AddedRules) -> Self:
        """Build the response from a version of the rules."""
        hours = {name.value: value for name, value in known.rules.windows.items()}
        return cls(
            version=known.rules.version,
            model=known.rules.model,
            windows=AttributionWindowsRead(**hours),
            created_by=known.created_by,
            created_at=known.created_at,
        )


class CreditSumRead(ReadModel):
    """The people and the money that are credited, for example to one campaign.

    Attributes:
        people: The number of people who have an outcome that is credited, wholly or in part.
        cents: The credited money, in cents. If only a part of an outcome is credited, only this
            part of its amount counts.
    """

    model_config = example(people=14, cents=1850000)

    people: int
    cents: int

    @classmethod
    def of(cls, found: CreditSum) -> Self:
        """Build the response: how many people and how much money were credited."""
        return cls(people=len(found.people), cents=found.cents)


class ComparedCredits(ReadModel):
    """Credited people and money under the current and under the new rules.

    Attributes:
        current: The credits under the current rules.
        proposed: The credits under the new rules.
    """

    model_config = example()

    current: CreditSumRead
    proposed: CreditSumRead


class CampaignCreditChange(ComparedCredits):
    """The credits of a campaign under the current rules and under the new rules.

    Attributes:
        campaign_id: The id of the campaign.
        name: The name of the campaign; null if the campaign no longer exists.
    """

    model_config = example(campaign_id=CAMPAIGN, name="Foundation check, December")

    campaign_id: Id
    name: str | None


class AttributionPreviewRead(ReadModel):
    """What would change if new attribution rules replaced the current rules.

    The preview changes nothing.

    Attribution rules decide which campaign messages get the credit for an outcome, such as a paid
    invoice.

    Attributes:
        current_version: The version that the new rules are compared with.
        outcomes: The number of outcomes that were compared: at most the latest 5,000.
        people: The number of people for whom at least one credit would change.
        cents: The money, in cents, that would be credited differently.
        attributed: The people and money that are credited to campaigns.
        unattributed: The people and money that are credited to no campaign.
        campaigns: Each campaign that has a credit under the current or the new rules.
    """

    model_config = example(current_version=1, outcomes=40, people=3, cents=370000)

    current_version: int
    outcomes: int
    people: int
    cents: int
    attributed: ComparedCredits
    unattributed: ComparedCredits
    campaigns: list[CampaignCreditChange]

    @classmethod
    def of(cls, found: RulesPreview) -> Self:
        """Build the response from the result of a preview."""

        def compared(pair: tuple[CreditSum, CreditSum]) -> ComparedCredits:
            current, proposed = map(CreditSumRead.of, pair)
            return ComparedCredits(current=current, proposed=proposed)

        return cls(
            current_version=found.current_version,
            outcomes=found.outcomes,
            people=found.people,
            cents=found.cents,
            attributed=compared(found.attributed),
            unattributed=compared(found.unattributed),
            campaigns=[
                CampaignCreditChange(
                    campaign_id=one.campaign_id,
                    name=one.name,
                    current=CreditSumRead.of(one.current),
                    proposed=CreditSumRead.of(one.proposed),
                )
                for one in found.campaigns
            ],
        )


class CreditRead(ReadModel):
    """The share of an outcome that is credited to a message.

    Attributes:
        campaign_id: The campaign that sent the message.
        variant: The name of the variant.
        step: The step of the campaign: 0 is the first message.
        class: Whether the person replied, the person called, or the message was delivered.
        weight: The share as an exact fraction, such as `1/3`.
        cents: This share of the outcome's amount, in cents; null if the outcome has no amount.
    """

    model_config = example(
        campaign_id=CAMPAIGN, variant="Short", step=0, weight="1/3", cents=61667
    ) | {"serialize_by_alias": True, "populate_by_name": True}

    campaign_id: Id
    variant: str
    step: int
    touch_class: Annotated[str, Vocabulary(TouchClass)] = Field(alias="class")
    weight: str
    cents: int | None


class OutcomeCreditsRead(ReadModel):
    """How an outcome, such as a payment, is credited to messages of campaigns.

    The weights of the credits and `unattributed` sum to exactly 1.

    Attributes:
        outcome_id: The id of the outcome.
        rules_version: The version of the rules.
        as_of: When the credits were computed.
        credits: The credits of messages, in the order of the replies, calls or deliveries.
        unattributed: The share that is credited to no message, as an exact fraction; `0` if none.
        unattributed_cents: The amount credited to no message, in cents; null without an amount.
    """

    model_config = example(
        rules_version=1, as_of=NOW, unattributed="2/3", unattributed_cents=123333
    )

    outcome_id: Id
    rules_version: int
    as_of: Instant
    credits: list[CreditRead]
    unattributed: str
    unattributed_cents: int | None

    @classmethod
    def of(cls, rows: list[CreditRow], *, outcome_id: object, version: int, now: datetime) -> Self:
        """Build the response from the credits of one outcome.

        A credit is a part of the outcome. It belongs to one message, or to no message.
        """
        rest = [row for row in rows if row.membership_id is None]
        has_amount = any(row.cents is not None for row in rows)
        return cls.model_validate(
            {
                "outcome_id": outcome_id,
                "rules_version": version,
                "as_of": now,
                "credits": [
                    {
                        "campaign_id": row.campaign_id,
                        "variant": row.variant,
                        "step": row.step,
                        "class": row.touch_class,
                        "weight": _text(row),
                        "cents": row.cents,
                    }
                    for row in rows
                    if row.membership_id is not None
                ],
                "unattributed": _text(rest[0]) if rest else "0",
                "unattributed_cents": (rest[0].cents if rest else 0) if has_amount else None,
            }
        )


def _text(row: CreditRow) -> str:
    return str(Fraction(row.numerator, row.denominator))
