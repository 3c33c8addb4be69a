"""Describe the days and hours of a campaign as words."""

from datetime import time

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.kit.windows import DAYS

_LAST_MINUTE = time(23, 59)


def describe_hours(campaign: Campaign, *, line_timezone: str) -> str:
    """Return the days and hours, such as "on Mon, Tue, 09:00 to 18:00 (America/New_York)"."""
    chosen = [day.title() for day in DAYS if day in campaign.days]
    days = "on all days" if len(chosen) == len(DAYS) else f"on {', '.join(chosen)}"
    end = campaign.window_end
    last = "24:00" if end.replace(second=0, microsecond=0) == _LAST_MINUTE else f"{end:%H:%M}"
    zone = campaign.timezone or line_timezone
    clock = "by the clock of each person" if zone == "recipient" else zone
    return f"{days}, {campaign.window_start:%H:%M} to {last} ({clock})"
