"""Settings for applying the events of the provider."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ApplySettings:
    """Settings for applying events: the business, the key for hashes, time limits and retries.

    Attributes:
        business_name: The name in automatic replies; None means the name of the line.
        business_contact: How people reach the business; None means the number of the line.
        secret: The key for the hashes of the consent history.
        times: The time limits for sending a message.
        resend_unclear: The setting ``resend_unclear`` of a new line: whether the line sends unclear
            messages again. A new line is added if an event names a line that is not stored.
        retry_means: The mean wait before the first retry, the second retry, and so on.
    """

    business_name: str | None
    business_contact: str | None
    secret: bytes = field(repr=False)
    times: SendTimes
    resend_unclear: bool = True
    retry_means: tuple[timedelta, ...]

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Create this object from the settings of the process.

        Raises:
            SettingsError: The settings have no secret key.
        """
        return cls(
            business_name=settings.business_name,
            business_contact=settings.business_contact,
            secret=settings.require_secret_key(),
            times=SendTimes.from_settings(settings),
            resend_unclear=settings.unclear_sends == "resend",
            retry_means=settings.webhook_retry_means,
        )
