"""A finding at every check becomes one alert, which ends with it."""

from datetime import timedelta

from tests.conftest import NOW
from tests.domain.monitoring.watchdog.support import MINUTE, NewUow, alert, standing

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.monitoring.watchdog.findings import AT_ONCE, Finding, settle_alerts

KIND = AlertKind.DISK_LOW
STANDS = {KIND.value: "a is low."}


async def look(
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
    return await standing(new_uow)


async def test_what_stays_for_long_is_an_alert_and_ends_by_itself(new_uow: NewUow) -> None:
    seen = [await look(new_uow, minute, "a", patience=3 * MINUTE) for minute in range(5)]

    assert seen == [{}, {}, {}, STANDS, STANDS]
    assert await look(new_uow, 5, patience=3 * MINUTE) == {}


async def test_finding_that_was_gone_in_between_starts_again(new_uow: NewUow) -> None:
    for minute in (0, 1):
        await look(new_uow, minute, "a", patience=3 * MINUTE)
    await look(new_uow, 2, patience=3 * MINUTE)

    seen = [await look(new_uow, minute, "a", patience=3 * MINUTE) for minute in (3, 4, 5, 6)]

    assert seen == [{}, {}, {}, STANDS]


async def test_time_without_checks_does_not_count(new_uow: NewUow) -> None:
    await look(new_uow, 0, "a", patience=3 * MINUTE)

    seen = [await look(new_uow, minute, "a", patience=3 * MINUTE) for minute in (60, 62, 63)]

    assert seen == [{}, {}, STANDS]


async def test_alert_counts_minutes_however_many_look(new_uow: NewUow) -> None:
    for minute in (0, 0.1, 0.5, 1, 1.1, 2):
        await look(new_uow, minute, "a")

    assert (await alert(new_uow, KIND)).count == 3


async def test_look_speaks_only_for_its_own(new_uow: NewUow) -> None:
    await look(new_uow, 0, "host-1:/data", among="host-1:")
    await look(new_uow, 0, "host-2:/data", among="host-2:")

    await look(new_uow, 1, among="host-1:")

    assert await standing(new_uow) == {KIND.value: "host-2:/data is low."}
