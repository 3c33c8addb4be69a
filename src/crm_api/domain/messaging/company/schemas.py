"""Schemas of the company's settings, in and out."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200, OptionalLine200, PhoneNumber
from crm_api.domain.kit.schemas import Instant, ReadModel, RequestModel
from crm_api.domain.messaging.company.carriers import Budgets, Carrier
from crm_api.domain.messaging.company.queries import StoredSettings

MOST_TEST_NUMBERS = 50
MOST_VENDORS = 50
MOST_SEGMENTS = 10_000_000

Segments = Annotated[
    int,
    Field(ge=0, le=MOST_SEGMENTS, strict=True, description="Message segments a day."),
]


def _write_ein(text: str) -> str:
    digits = text.replace("-", "")
    return f"{digits[:2]}-{digits[2:]}"


Ein = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-?[0-9]{7}$"), AfterValidator(_write_ein)]
AttClass = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,2}$")]


class Brand(RequestModel):
    """The company's registration with the carriers.

    It documents the budgets. Nothing is derived from it.
    """

    legal_name: Annotated[
        OptionalLine200, Field(description="As in the registration; null if unknown.")
    ] = None
    ein: Annotated[
        Ein | None,
        Field(
            description="Tax ID. T-Mobile counts by it, over all vendors.", examples=["12-3456789"]
        ),
    ] = None
    att_class: Annotated[
        AttClass | None,
        Field(description="AT&T's message class of the registered campaign.", examples=["E"]),
    ] = None


class VendorTraffic(RequestModel):
    """Messages that another vendor sends for the same company."""

    name: Annotated[Name200, Field(description="Name of the vendor.")]
    daily_segments: Segments


class CarrierBudget(RequestModel):
    """Segments a day that one carrier allows the company."""

    daily_segments: Segments
    other_vendors: Annotated[
        list[VendorTraffic],
        Field(
            max_length=MOST_VENDORS,
            default_factory=list,
            description="The company's traffic over other vendors. It is subtracted.",
        ),
    ]


CarrierBudgets = Annotated[
    dict[Carrier, CarrierBudget],
    Field(description="By carrier. A carrier that is left out is not limited."),
]


class SettingsUpdate(RequestModel):
    """The fields to change; a field that is left out does not change, null removes the value.

    Attributes:
        brand: The company as it is registered with the carriers.
        carrier_budgets: The declared daily segments of each carrier.
    """

    model_config = example(
        test_numbers=["+16175550177"],
        brand={"legal_name": "Granite Foundations LLC", "ein": "12-3456789", "att_class": "E"},
        carrier_budgets={
            "t_mobile": {
                "daily_segments": 2000,
                "other_vendors": [{"name": "Reviews Inc", "daily_segments": 500}],
            }
        },
    )

    business_name: Annotated[
        OptionalLine200, Field(description="The sender's name; null: the line's name.")
    ] = None
    business_contact: Annotated[
        OptionalLine200, Field(description="How to reach the sender; null: the line's number.")
    ] = None
    test_numbers: Annotated[
        list[PhoneNumber],
        Field(
            max_length=MOST_TEST_NUMBERS,
            default_factory=list,
            description="Numbers that test messages may go to, besides the own lines.",
        ),
    ]
    brand: Brand | None = None
    carrier_budgets: CarrierBudgets | None = None

    @model_validator(mode="after")
    def _no_number_twice(self) -> Self:
        if len(set(self.test_numbers)) < len(self.test_numbers):
            raise PydanticCustomError("number_twice", "A test number occurs twice. Give it once.")
        return self


class CarrierBudgetRead(ReadModel):
    """Segments a day that one carrier allows the company."""

    daily_segments: Annotated[int, Field(description="The declared segments a day.")]
    other_vendors: Annotated[
        list[VendorTraffic], Field(description="The company's traffic over other vendors.")
    ]
    available_segments: Annotated[
        int,
        Field(description="Segments a day for this service: declared, less other vendors."),
    ]


class SettingsRead(ReadModel):
    """The company's current settings; values from the environment take precedence."""

    model_config = example(
        business_name="Granite Foundations",
        business_contact="+16175550100",
        test_numbers=["+16175550177"],
        brand={"legal_name": "Granite Foundations LLC", "ein": "12-3456789", "att_class": "E"},
        carrier_budgets={
            "t_mobile": {
                "daily_segments": 2000,
                "other_vendors": [{"name": "Reviews Inc", "daily_segments": 500}],
                "available_segments": 1500,
            }
        },
        locked=["business_name", "business_contact"],
    )

    business_name: Annotated[str | None, Field(description="Null: the line's name is used.")]
    business_contact: Annotated[str | None, Field(description="Null: the line's number is used.")]
    test_numbers: Annotated[
        list[str], Field(description="Numbers that test messages may go to, as E.164.")
    ]
    brand: Annotated[Brand | None, Field(description="The registration with the carriers.")]
    carrier_budgets: Annotated[
        dict[Carrier, CarrierBudgetRead],
        Field(description="By carrier. A carrier that is left out is not limited."),
    ]
    locked: Annotated[
        list[str],
        Field(description="Fields that the environment sets. They cannot be changed here."),
    ]
    updated_at: Annotated[Instant | None, Field(description="Null before the first change.")]

    @classmethod
    def of(cls, found: StoredSettings, *, locked: list[str]) -> Self:
        """Build the response from the stored settings."""
        daily = Budgets.of(found.carrier_budgets).daily
        return cls(
            business_name=found.business_name,
            business_contact=found.business_contact,
            test_numbers=found.test_numbers,
            brand=None if found.brand is None else Brand.model_validate(found.brand),
            carrier_budgets={
                Carrier(carrier): CarrierBudgetRead(**declared, available_segments=daily[carrier])
                for carrier, declared in sorted(found.carrier_budgets.items())
            },
            locked=locked,
            updated_at=found.updated_at,
        )
