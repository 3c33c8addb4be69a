"""Request and response schemas of the company's settings."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictBool, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import BlankIsNull, Name200, OptionalLine200, PhoneNumber, Text
from crm_api.domain.kit.schemas import Instant, ReadModel, RequestModel
from crm_api.domain.messaging.company.carriers import Carrier
from crm_api.domain.messaging.company.office_hours import Holiday, Holidays, OfficeHours

MOST_TEST_NUMBERS = 50
MOST_VENDORS = 50
MOST_SEGMENTS = 10_000_000
LONGEST_AWAY_REPLY = 480
"""The largest number of characters of the away reply. This length is about three message segments.
"""

Segments = Annotated[
    int,
    Field(ge=0, le=MOST_SEGMENTS, strict=True, description="The number of segments per day."),
]


def _write_ein(text: str) -> str:
    digits = text.replace("-", "")
    return f"{digits[:2]}-{digits[2:]}"


Ein = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-?[0-9]{7}$"), AfterValidator(_write_ein)]
AttClass = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,2}$")]


class Brand(RequestModel):
    """The company's registration with the mobile carriers (A2P 10DLC).

    Each mobile carrier sets a daily limit for a registered company. The fields of this object
    explain the limits in ``carrier_budgets``. The service only stores these fields.
    """

    legal_name: Annotated[
        OptionalLine200,
        Field(description="The company's legal name in the registration; null if unknown."),
    ] = None
    ein: Annotated[
        Ein | None,
        Field(
            description="The company's tax ID (EIN); null if unknown. T-Mobile's daily limit "
            "applies per tax ID, to the messages of all vendors together.",
            examples=["12-3456789"],
        ),
    ] = None
    att_class: Annotated[
        AttClass | None,
        Field(
            description="The message class that AT&T gave to the registered campaign; null if "
            "unknown.",
            examples=["E"],
        ),
    ] = None


class VendorTraffic(RequestModel):
    """The daily traffic that another messaging vendor sends for the same company."""

    name: Annotated[Name200, Field(description="The name of the vendor.")]
    daily_segments: Segments


class CarrierBudget(RequestModel):
    """The number of message segments per day that one carrier allows the company to send."""

    daily_segments: Segments
    other_vendors: Annotated[
        list[VendorTraffic],
        Field(
            max_length=MOST_VENDORS,
            default_factory=list,
            description="The traffic that other vendors send for the company. This service "
            "subtracts it from `daily_segments`.",
        ),
    ]


CarrierBudgets = Annotated[
    dict[Carrier, CarrierBudget],
    Field(
        description="The daily budget of each carrier. Messages to a carrier without an entry are "
        "not limited."
    ),
]


_AWAY_REPLY_MEANS = (
    "The text with which the service answers a person's message outside the office hours and on "
    "holidays, once per conversation until the office opens again. If null, the service does not "
    "answer."
)
_OFFICE_HOURS = {
    "timezone": "America/New_York",
    "days": {
        "mon": [{"start": "08:00", "end": "12:00"}, {"start": "13:00", "end": "17:00"}],
        "tue": [],
        "wed": [{"start": "08:00", "end": "17:00"}],
        "thu": [],
        "fri": [{"start": "08:00", "end": "17:00"}],
        "sat": [],
        "sun": [],
    },
}
_HOLIDAYS = [{"date": "2026-12-25", "name": "Christmas Day"}]
_AWAY_REPLY = "Thanks for your message. We are out of the office and will answer on our next day."


class SettingsUpdate(RequestModel):
    """The settings to change. An omitted field keeps its value; null removes the value.

    Attributes:
        brand: The company's registration with the mobile carriers.
        carrier_budgets: How many SMS segments each carrier allows per day. The new object replaces
            the stored object.
        office_hours: When somebody is in the office. Without office hours, the office counts as
            always open. The new object replaces the stored object.
        holidays: The days on which the office is closed all day, each day once. The new list
            replaces the stored list.
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
        office_hours=_OFFICE_HOURS,
        holidays=_HOLIDAYS,
        away_reply=_AWAY_REPLY,
    )

    business_name: Annotated[
        OptionalLine200,
        Field(
            description="The name with which messages identify the sender. If null, messages use "
            "the name of the line."
        ),
    ] = None
    business_contact: Annotated[
        OptionalLine200,
        Field(
            description="The phone number or address at which people can reach the sender. If "
            "null, messages use the number of the line."
        ),
    ] = None
    test_numbers: Annotated[
        list[PhoneNumber],
        Field(
            max_length=MOST_TEST_NUMBERS,
            default_factory=list,
            description="Phone numbers that may receive test messages. The company's own lines may "
            "always receive them.",
        ),
    ]
    brand: Brand | None = None
    carrier_budgets: CarrierBudgets | None = None
    office_hours: OfficeHours | None = None
    holidays: Holidays | None = None
    away_reply: Annotated[
        Annotated[str, Text(longest=LONGEST_AWAY_REPLY, has_lines=True)] | None,
        BlankIsNull,
        Field(description=_AWAY_REPLY_MEANS),
    ] = None
    require_approval: Annotated[
        StrictBool | None,
        Field(
            description="If true, a campaign starts only if another user approved it, or if all "
            "its texts are approved versions of templates. Null means false."
        ),
    ] = None

    @model_validator(mode="after")
    def _no_holiday_twice(self) -> Self:
        if self.holidays:
            self.holidays.sort(key=lambda one: one.date)
            for earlier, later in pairwise(self.holidays):
                if earlier.date == later.date:
                    raise PydanticCustomError(
                        "holiday_twice", "The list has the same day twice. Remove one of the two."
                    )
        return self

    @model_validator(mode="after")
    def _no_number_twice(self) -> Self:
        if len(set(self.test_numbers)) < len(self.test_numbers):
            raise PydanticCustomError(
                "number_twice", "The list has the same test number twice. Remove one of the two."
            )
        return self


class CarrierBudgetRead(ReadModel):
    """The number of message segments per day that one carrier allows the company to send."""

    daily_segments: Annotated[
        int, Field(description="The number of segments per day that the company declared.")
    ]
    other_vendors: Annotated[
        list[VendorTraffic],
        Field(description="The traffic that other vendors send for the company."),
    ]
    available_segments: Annotated[
        int,
        Field(
            description="The number of segments per day that this service may send: "
            "`daily_segments` minus the segments of the other vendors."
        ),
    ]


class SettingsRead(ReadModel):
    """The company's current settings. A value from the environment overrides the stored value."""

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
        office_hours=_OFFICE_HOURS,
        holidays=_HOLIDAYS,
        away_reply=_AWAY_REPLY,
        locked=["business_name", "business_contact"],
    )

    business_name: Annotated[
        str | None,
        Field(
            description="The name with which messages identify the sender. If null, messages use "
            "the name of the line."
        ),
    ]
    business_contact: Annotated[
        str | None,
        Field(
            description="The phone number or address at which people can reach the sender. If "
            "null, messages use the number of the line."
        ),
    ]
    test_numbers: Annotated[
        list[str],
        Field(description="The phone numbers that may receive test messages, in E.164."),
    ]
    brand: Annotated[
        Brand | None,
        Field(description="The company's registration with the mobile carriers; null if unset."),
    ]
    carrier_budgets: Annotated[
        dict[Carrier, CarrierBudgetRead],
        Field(
            description="The daily budget of each carrier. Messages to a carrier without an entry "
            "are not limited."
        ),
    ]
    office_hours: Annotated[
        OfficeHours | None,
        Field(
            description="When somebody is in the office. If null, this is unknown, and the office "
            "counts as always open."
        ),
    ]
    holidays: Annotated[
        list[Holiday],
        Field(description="The days on which the office is closed all day, in order."),
    ]
    away_reply: Annotated[str | None, Field(description=_AWAY_REPLY_MEANS)]
    require_approval: Annotated[
        bool,
        Field(
            description="If true, a campaign starts only if another user approved it, or if all "
            "its texts are approved versions of templates."
        ),
    ]
    locked: Annotated[
        list[str],
        Field(
            description="The names of the fields whose values come from environment variables. The "
            "API cannot change these fields."
        ),
    ]
    updated_at: Annotated[
        Instant | None,
        Field(description="When the stored settings last changed; null before the first change."),
    ]
