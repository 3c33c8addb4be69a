"""Request model of the recurrence of a campaign."""

from typing import Annotated

from pydantic import AfterValidator, StrictBool
from pydantic_core import PydanticCustomError

from crm_api.domain.campaigns.recurrence.rules import (
    LONGEST_RULE,
    InvalidRuleError,
    RecurrenceRule,
)
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text, TimeZoneName
from crm_api.domain.kit.schemas import RequestModel


def _known_rule(value: str) -> str:
    try:
        RecurrenceRule.parse(value)
    except InvalidRuleError as error:
        raise PydanticCustomError("recurrence_rule", "{detail}", {"detail": str(error)}) from error
    return value


class Recurrence(RequestModel):
    """How a campaign is repeated. A draft of each later occurrence is made two weeks ahead.

    Attributes:
        rrule: The rule, as in RFC 5545. ``FREQ`` is ``DAILY``, ``WEEKLY``, ``MONTHLY`` or
            ``YEARLY``. The occurrences are counted from ``start_at`` of the campaign, and have the
            same time of day, unless the rule has ``BYHOUR`` or ``BYMINUTE``. Without ``start_at``,
            they are counted from the day on which the campaign was created, and begin at the start
            of its window.
        timezone: The IANA time zone of the rule. Occurrences keep their local time when the clocks
            change.
        paused: While true, no further occurrence is drafted.
    """

    model_config = example(rrule="FREQ=WEEKLY;BYDAY=MO", timezone="America/New_York")

    rrule: Annotated[str, Text(shortest=1, longest=LONGEST_RULE), AfterValidator(_known_rule)]
    timezone: TimeZoneName
    paused: StrictBool = False
