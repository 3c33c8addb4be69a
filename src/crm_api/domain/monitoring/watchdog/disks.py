"""Measure the free space of disks with files of the service, and find almost full disks.

A disk is almost full if it has too few free bytes, or if too few more files fit on it.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crm_api.domain.monitoring.watchdog.findings import Finding
from crm_api.platform.settings import Settings

GIB = 2**30
LEAST_BYTES = GIB
"""A disk with less free space than this is low: an import or a backup may need that much."""
LEAST_SHARE = 0.10
"""A disk with a smaller share of free space than this is low, unless ``ENOUGH_BYTES`` are free."""
ENOUGH_BYTES = 20 * GIB
"""A disk with this much free space is not low, whatever its size is."""
LEAST_SHARE_OF_FILES = 0.05
"""A disk is also low if the number of further files that it can hold is less than this share of
``files_total``. Without room for new files, free space cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A file system and the space on it that this process may use.

    Attributes:
        path: A folder on this file system that has files of the service.
        free: The free bytes.
        total: All bytes.
        files_free: How many more files the file system can hold.
        files_total: The largest number of files on the file system; 0 if there is no such limit.
    """

    path: Path
    free: int
    total: int
    files_free: int
    files_total: int

    @property
    def is_low(self) -> bool:
        """True if the disk has too few free bytes, or if too few more files fit on it."""
        if self.files_total and self.files_free < LEAST_SHARE_OF_FILES * self.files_total:
            return True
        if self.free < LEAST_BYTES:
            return True
        return self.free < LEAST_SHARE * self.total and self.free < ENOUGH_BYTES


def folders_of(settings: Settings) -> list[Path]:
    """Return the folders with files of the service: the data directory, and the media folder.

    There is no media folder if media are stored in a bucket.
    """
    media = settings.media_location
    return [settings.data_dir.resolve(), *([media.resolve()] if isinstance(media, Path) else [])]


def measure_disks(paths: Sequence[Path]) -> list[Disk]:
    """Measure the file systems of these folders, each once.

    If a network disk does not respond, this function does not return.
    """
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
    """Return the text with which the subject of every alert about this machine begins."""
    return f"{socket.gethostname()}:"


def find_low_disks(disks: Sequence[Disk]) -> Iterator[Finding]:
    """Yield a finding, which becomes an alert, for each disk that is almost full."""
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
