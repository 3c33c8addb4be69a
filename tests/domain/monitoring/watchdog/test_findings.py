"""A finding that several checks repeat raises one alert, which ends when the finding ends."""

from datetime import timedelta

from tests.conftest import NOW
from tests.domain.monitoring.watchdog.support import MINUTE, NewUow, alert, open_alerts

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.monitoring.watchdog.findings import AT_ONCE, Finding, settle_alerts

KIND = AlertKind.DISK_LOW
RAISED = {KIND.value: "a is low."}


async def check(
    new_uow: NewUow,
    minute: float,
    *subjects: str,
    patience: timedelta = AT_ONCE,
    among: str = "",
) -> dict[str, str]:
    found = [Finding(subject=one, detail=f"{one} is low.") for one in subjects]
    async with new_uow() as uow:
        await settle_alerts(
            uow, KIND, found, patience=patience, among=among, now=NOW + minute * MINUTE
        )
    return await open_alerts(new_uow)


async def test_lasting_finding_raises_an_alert_that_ends_with_it(new_uow: NewUow) -> None:
    seen = [await check(new_uow, minute, "a", patience=3 * MINUTE) for minute in range(5)]

    assert seen == [{}, {}, {}, RAISED, RAISED]
    assert await check(new_uow, 5, patience=3 * MINUTE) == {}


async def test_interrupted_finding_starts_its_patience_again(new_uow: NewUow) -> None:
    for minute in (0, 1):
        await check(new_uow, minute, "a", patience=3 * MINUTE)
    await check(new_uow, 2, patience=3 * MINUTE)

    seen = [await check(new_uow, minute, "a", patience=3 * MINUTE) for minute in (3, 4, 5, 6)]

    assert seen == [{}, {}, {}, RAISED]


async def test_time_without_checks_does_not_count(new_uow: NewUow) -> None:
    await check(new_uow, 0, "a", patience=3 * MINUTE)

    seen = [await check(new_uow, minute, "a", patience=3 * MINUTE) for minute in (60, 62, 63)]

    assert seen == [{}, {}, RAISED]


async def test_alert_counts_minutes_and_not_checks(new_uow: NewUow) -> None:
    for minute in (0, 0.1, 0.5, 1, 1.1, 2):
        await check(new_uow, minute, "a")

    assert (await alert(new_uow, KIND)).count == 3


async def test_check_resolves_only_alerts_of_its_own_subjects(new_uow: NewUow) -> None:
    await check(new_uow, 0, "host-1:/data", among="host-1:")
    await check(new_uow, 0, "host-2:/data", among="host-2:")

    await check(new_uow, 1, among="host-1:")

    assert await open_alerts(new_uow) == {KIND.value: "host-2:/data is low."}
