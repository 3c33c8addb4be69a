"""The durations of the send path (``docs/explanation/sending.md``, "Times")."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from crm_api.platform.setting_fields import CALL_START_SECONDS, MAX_SKEW_SECONDS
from crm_api.platform.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SendTimes:
    """The durations of the send path, from the settings.

    Attributes:
        lease: How long a claim, and then a call, belongs to one worker.
        call_start: Most time from the gate to the request body.
        call_timeout: Most time for the whole POST.
        grace: Age, from the gate, at which an unclear attempt may be concluded as not found.
        look_gap: Least time between the two look-ups that find nothing.
        skew: How far the clocks may differ.
    """

    lease: timedelta
    call_start: timedelta
    call_timeout: timedelta
    grace: timedelta
    look_gap: timedelta
    skew: timedelta

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the durations from the settings, which have checked their bounds."""
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
        """``grace`` in seconds, for SQL."""
        return self.grace.total_seconds()

    @property
    def call(self) -> timedelta:
        """Most time from the gate to the end of the call."""
        return self.call_start + self.call_timeout
