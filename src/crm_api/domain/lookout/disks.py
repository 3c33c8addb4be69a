"""How full the disks are on which our files lie."""

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crm_api.domain.lookout.findings import Finding
from crm_api.settings import Settings

GIB = 2**30
LEAST_BYTES = GIB
"""Less is low on any disk: an import, its error file and a backup fit into no less."""
LEAST_SHARE = 0.10
ENOUGH_BYTES = 20 * GIB
"""As much is enough however large the disk is."""
LEAST_SHARE_OF_FILES = 0.05
"""A disk that can hold no more files is full too, whatever bytes are left."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One file system, as the process that looks may use it."""

    path: Path
    free: int
    total: int
    files_free: int
    files_total: int

    @property
    def is_low(self) -> bool:
        """True when little is left, of bytes or of files."""
        if self.files_total and self.files_free < LEAST_SHARE_OF_FILES * self.files_total:
            return True
        if self.free < LEAST_BYTES:
            return True
        return self.free < LEAST_SHARE * self.total and self.free < ENOUGH_BYTES


def places(settings: Settings) -> list[Path]:
    """Return where our files lie on this machine: the data directory, and that of pictures."""
    media = settings.media_location
    return [settings.data_dir.resolve(), *([media.resolve()] if isinstance(media, Path) else [])]


def measure(paths: Sequence[Path]) -> list[Disk]:
    """Measure each file system once; may block for as long as a network disk hangs."""
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


def here() -> str:
    """Return how the subjects of this machine's disks begin."""
    return f"{socket.gethostname()}:"


def low(disks: Sequence[Disk]) -> Iterator[Finding]:
    """Yield a finding for each disk on which little is left."""
    for disk in disks:
        if disk.is_low:
            yield Finding(
                subject=f"{here()}{disk.path}",
                detail=f"The disk of {disk.path} on {socket.gethostname()} has "
                f"{disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB left "
                f"({disk.free / max(1, disk.total):.0%}), and room for {disk.files_free:,} files. "
                "When it is full, imports, pictures and a database on it stop. See to it that "
                "old backups, logs and exports go, or enlarge the disk.",
                context={"free_bytes": disk.free, "total_bytes": disk.total},
            )
