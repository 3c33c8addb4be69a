"""What is needed to apply an event, besides the event itself."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.settings import Settings

RETRY_MEANS = tuple(timedelta(minutes=wait) for wait in (1, 5, 30, 120, 360, 960))
"""About a day in all."""


@dataclass(frozen=True, kw_only=True)
class Reception:
    """Who answers, which key hashes consent records, and how far clocks may differ.

    Attributes:
        business_name: None means the line's name.
        business_contact: How to reach the business; None means the line's number.
        secret: Key for the hashes of the consent history.
        resend_unclear: Setting for a line that is added on first sight.
        retry_means: Mean wait after the first, second … failure.
    """

    business_name: str | None
    business_contact: str | None
    secret: bytes = field(repr=False)
    times: SendTimes
    resend_unclear: bool = True
    retry_means: tuple[timedelta, ...] = RETRY_MEANS

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build it from the settings.

        Raises:
            SettingsError: There is no secret key.
        """
        return cls(
            business_name=settings.business_name,
            business_contact=settings.business_contact,
            secret=settings.require_secret_key(),
            times=SendTimes.from_settings(settings),
            resend_unclear=settings.unclear_sends == "resend",
            retry_means=settings.webhook_retry_means,
        )
