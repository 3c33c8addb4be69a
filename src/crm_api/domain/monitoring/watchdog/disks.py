"""Free space of the disks that hold the service's files."""

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crm_api.domain.monitoring.watchdog.findings import Finding
from crm_api.platform.settings import Settings

GIB = 2**30
LEAST_BYTES = GIB
"""Lower limit for any disk: an import, its error file and a backup need as much."""
LEAST_SHARE = 0.10
ENOUGH_BYTES = 20 * GIB
"""Enough for a disk of any size."""
LEAST_SHARE_OF_FILES = 0.05
"""A disk without room for more files is full, however many bytes are free."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One file system, with the space that this process may use."""

    path: Path
    free: int
    total: int
    files_free: int
    files_total: int

    @property
    def is_low(self) -> bool:
        """True when few bytes or few files are left."""
        if self.files_total and self.files_free < LEAST_SHARE_OF_FILES * self.files_total:
            return True
        if self.free < LEAST_BYTES:
            return True
        return self.free < LEAST_SHARE * self.total and self.free < ENOUGH_BYTES


def folders_of(settings: Settings) -> list[Path]:
    """Return the folders of this machine's files: the data directory, and that of media."""
    media = settings.media_location
    return [settings.data_dir.resolve(), *([media.resolve()] if isinstance(media, Path) else [])]


def measure_disks(paths: Sequence[Path]) -> list[Disk]:
    """Measure each file system once; blocks while a network disk hangs."""
    found: dict[int, Disk] = {}
    for path in paths:
        there = next(one for one in (path, *path.parents) if one.exists())
        about = os.statvfs(there)
        found.setdefault(
            there.stat().st_dev,
            Disk(
                path=path,
                free=about.f_bavail * about.f_frsize,
                total=about.f_blocks * about.f_frsize,
                files_free=about.f_favail,
                files_total=about.f_files,
            ),
        )
    return list(found.values())


def subject_prefix() -> str:
    """Return the prefix of the alert subjects that name this machine's disks."""
    return f"{socket.gethostname()}:"


def find_low_disks(disks: Sequence[Disk]) -> Iterator[Finding]:
    """Yield a finding for each disk that is low."""
    for disk in disks:
        if disk.is_low:
            yield Finding(
                subject=f"{subject_prefix()}{disk.path}",
                detail=f"The disk of {disk.path} on {socket.gethostname()} has "
                f"{disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB left "
                f"({disk.free / max(1, disk.total):.0%}), and room for {disk.files_free:,} files. "
                "When it is full, imports, media and a database on it stop. Delete old backups, "
                "logs and exports, or enlarge the disk.",
                context={"free_bytes": disk.free, "total_bytes": disk.total},
            )
