"""Which disks have too little space, and how the disks of this machine are measured."""

from pathlib import Path

import pytest
from tests.conftest import NOW
from tests.domain.monitoring.watchdog.support import NewUow, open_alerts

from crm_api.domain.monitoring.watchdog import system
from crm_api.domain.monitoring.watchdog.system import GIB, Disk
from crm_api.platform.settings import Settings


def disk(free: float, total: float, *, files_free: int = 900, files_total: int = 1000) -> Disk:
    return Disk(
        path=Path("/data"),
        free=int(free * GIB),
        total=int(total * GIB),
        files_free=files_free,
        files_total=files_total,
    )


@pytest.mark.parametrize(
    ("measured", "is_low"),
    [
        (disk(5, 20), False),
        (disk(1.9, 20), True),
        (disk(0.9, 2), True),
        (disk(1.1, 2), False),
        (disk(19, 1000), True),
        (disk(21, 1000), False),
        (disk(900, 1000, files_free=49), True),
        (disk(900, 1000, files_free=0, files_total=0), False),
    ],
    ids=["enough", "tenth", "last gib", "small disk", "large disk", "plenty", "files", "no count"],
)
def test_disk_is_low_by_share_and_by_bytes(measured: Disk, *, is_low: bool) -> None:
    assert measured.is_low is is_low


async def test_low_disk_is_an_alert_until_there_is_room(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await system.check_disks(uow, [disk(0.5, 20)], now=NOW)
    alerts = await open_alerts(new_uow)
    async with new_uow() as uow:
        await system.check_disks(uow, [disk(5, 20)], now=NOW)

    assert "has 0.5 of 20.0 GiB left (2%)" in alerts["disk_low"]
    assert await open_alerts(new_uow) == {}


def test_each_file_system_is_measured_once_even_before_its_folder_exists(
    settings: Settings,
) -> None:
    existing, missing = system.folders_of(settings)
    (found,) = system.measure_disks([existing, missing])

    assert (existing, missing) == (settings.data_dir, settings.data_dir / "media")
    assert 0 < found.free < found.total
