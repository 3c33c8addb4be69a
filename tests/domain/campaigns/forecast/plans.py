"""Plans for forecasts.

By default, a plan has 300 people with one zone key (state and time zone). It sends 125 messages a
day from 09:00 to 18:00.
"""

from datetime import UTC, datetime, time
from typing import Any

from crm_api.domain.campaigns.forecast.hours import Hours
from crm_api.domain.campaigns.forecast.plan import Plan, Waiting
from crm_api.domain.consent.legal_rules.rules import NO_RULES, load_rules
from crm_api.domain.kit.windows import DAYS, Window

NEW_YORK = "America/New_York"
MA = "MA/America/New_York"
AL = "AL/America/Chicago"
CA = "CA/America/Los_Angeles"
HI = "HI/Pacific/Honolulu"
RI = "RI/America/New_York"
UNKNOWN = "?/America/Chicago,America/New_York"
US = load_rules("us")
NINE_TO_SIX = Window.of(DAYS, time(9), time(18))
WEEKDAYS = Window.of(DAYS[:5], time(9), time(18))
NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
"""A Wednesday at 10:00 in New York, on the day before Thanksgiving."""


def make_plan(**changes: Any) -> Plan:
    waiting = changes.pop("waiting", {MA: 300})
    values: dict[str, Any] = {
        "begins": NOW,
        "hours": Hours(
            window=changes.pop("window", NINE_TO_SIX),
            timezone=changes.pop("timezone", None),
            line_timezone=changes.pop("line_timezone", NEW_YORK),
            rules=changes.pop("rules", NO_RULES),
        ),
        "zone_keys": tuple(sorted(waiting)),
        "waiting": [Waiting(zone_key=key, people=people) for key, people in waiting.items()],
        "campaign_limit": 125,
        "line_limit": 125,
        "per_second": 8,
    }
    return Plan(**{**values, **changes})
