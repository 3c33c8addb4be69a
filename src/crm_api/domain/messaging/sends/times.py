"""The durations that limit the steps of sending (``docs/explanation/sending.md``, "Times")."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from crm_api.platform.setting_fields import CALL_START_SECONDS, MAX_SKEW_SECONDS
from crm_api.platform.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SendTimes:
    """The durations that limit the steps of sending, from the settings.

    Attributes:
        lease: How long a claim belongs to one worker. The gate starts this time again.
        call_start: The longest time from the gate to sending the request body.
        call_timeout: The longest time for the whole POST request to the provider.
        grace: The shortest time from the gate until an unclear attempt can become ``not_found``.
        look_gap: The shortest time between the starts of the two look-ups for ``not_found``.
        skew: How far the clocks of this service and the provider may differ.
    """

    lease: timedelta
    call_start: timedelta
    call_timeout: timedelta
    grace: timedelta
    look_gap: timedelta
    skew: timedelta

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the durations from the settings, which have already been checked."""
        return cls(
            lease=timedelta(seconds=settings.send_lease_seconds),
            call_start=timedelta(seconds=CALL_START_SECONDS),
            call_timeout=timedelta(seconds=settings.call_timeout_seconds),
            grace=timedelta(seconds=settings.grace_seconds),
            look_gap=timedelta(seconds=settings.look_gap_seconds),
            skew=timedelta(seconds=MAX_SKEW_SECONDS),
        )

    @property
    def grace_seconds(self) -> float:
        """The duration ``grace`` in seconds, for use in SQL."""
        return self.grace.total_seconds()

    @property
    def call(self) -> timedelta:
        """The longest time from the last check before a request to the end of the request.

        This last check is called the gate. The result is the sum of ``call_start`` and
        ``call_timeout``.
        """
        return self.call_start + self.call_timeout
