"""Prove the limits of the lease and of the grace period, and of the durations computed from them.

The lease is the time for which one worker reserves a message for sending. The grace period is the
time after which an unclear attempt may be treated as not sent.
"""

from datetime import timedelta

import pytest

from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.settings import Settings, SettingsError
from crm_api.workers.schedule import JOB_TIMEOUT_SECONDS

REAL = {"CRM_OPENPHONE_BASE_URL": "https://api.quo.com"}
LEASE, GRACE = "CRM_SEND_LEASE_SECONDS", "CRM_SETTLE_GRACE_SECONDS"


def _times(**env: str) -> SendTimes:
    return SendTimes.from_settings(Settings.from_env(env))


@pytest.mark.parametrize(
    ("env", "too_short"),
    [({LEASE: "20"}, {LEASE: "19"}), ({GRACE: "10"}, {GRACE: "9"})],
)
def test_lease_and_grace_have_a_minimum(env: dict[str, str], too_short: dict[str, str]) -> None:
    _times(**env)

    with pytest.raises(SettingsError, match=next(iter(env))):
        _times(**too_short)


@pytest.mark.parametrize("lease", ["0", "19", "121", "86400"])
def test_error_for_a_refused_lease_names_the_setting_and_its_range(lease: str) -> None:
    with pytest.raises(SettingsError, match=f"{LEASE} must be 20 to 120"):
        _times(**{LEASE: lease})


def test_longest_lease_covers_a_job_and_its_last_call() -> None:
    times = _times(**{LEASE: "120"})

    assert timedelta(seconds=JOB_TIMEOUT_SECONDS) + times.call <= times.lease


def test_grace_against_a_real_host_is_at_least_two_minutes() -> None:
    assert _times(**REAL, **{GRACE: "120"}).grace_seconds == 120

    with pytest.raises(SettingsError, match=GRACE):
        _times(**REAL, **{GRACE: "119"})


@pytest.mark.parametrize(
    ("lease", "grace", "call_timeout", "look_gap"),
    [("60", "600", 15, 60), ("30", "600", 10, 60), ("60", "30", 10, 15), ("120", "600", 15, 60)],
)
def test_call_and_gap_follow_from_lease_and_grace(
    lease: str, grace: str, call_timeout: float, look_gap: float
) -> None:
    times = _times(**{LEASE: lease, GRACE: grace})

    assert times.call_timeout.total_seconds() == call_timeout
    assert times.look_gap.total_seconds() == look_gap
    assert times.call == times.call_start + times.call_timeout


@pytest.mark.parametrize("lease", ["20", "60", "120"])
@pytest.mark.parametrize("grace", ["10", "120", "600"])
def test_call_is_over_before_its_lease_and_well_before_its_grace(lease: str, grace: str) -> None:
    times = _times(**{LEASE: lease, GRACE: grace})

    assert times.call.total_seconds() + 10 <= times.lease.total_seconds()
    assert times.call + 2 * times.skew < times.grace
