"""The times of the send path and how they bind each other (``docs/sending.md``)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from crm_api.setting_fields import CALL_START_SECONDS, MAX_SKEW_SECONDS
from crm_api.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SendTimes:
    """Durations; ``grace`` and ``skew`` also in seconds for the statements.

    Attributes:
        lease: How long a claimed row is a worker's.
        call_start: From the gate to the request body, at most.
        call_timeout: The whole POST.
        grace: Age from which an unclear send may be concluded not to exist.
        look_gap: Between two look-ups that both find nothing.
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
        """Take the times that the settings give; the settings checked their bounds."""
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
        """The grace as the statements take it."""
        return self.grace.total_seconds()

    @property
    def call(self) -> timedelta:
        """From the gate to the end of the call, at most."""
        return self.call_start + self.call_timeout
