"""Watches what a whole test run logs: no secret and no full phone number may be in it.

Each process of the run sends its lines through the service's own formatter into a ``LeakWatch``;
what child processes wrote to their files is shown to it with ``look``.
"""

import io
import logging
import re
from functools import cache
from pathlib import Path
from typing import TextIO, cast

from crm_api import logs

SHORTEST_KNOWN = 16
"""Shorter constants are words that a line may hold by chance."""
_CONSTANT = re.compile(r"(?m)^[A-Z_]*(?:SECRET|KEY|PASSWORD|TOKEN)[A-Z_]* = b?([\"'])(.+?)\1")
_SHAPES = re.compile(
    r"\bcrm_[0-9A-Za-z]{46}\b"  # API keys
    r"|\bcrm[srt]_[\w-]{40,}"  # sessions, refresh tokens, invitations
    r"|\bwhsec_[\w+/=-]{16,}"
    r"|AGE-SECRET-KEY-1"
    r"|\$argon2id\$"
    r"|://[^/\s@:\"]*:(?!\*\*\*@)[^/\s@\"]+@"  # a password in a URL
    r"|(?:\+|%2B)1\d{10}(?!\d)"
)


@cache
def known_secrets() -> re.Pattern[str]:
    """Match every constant of the tests that is called a secret, a key, a password or a token."""
    found: set[str] = set()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        found |= {match[2] for match in _CONSTANT.finditer(path.read_text())}
    return re.compile("|".join(re.escape(one) for one in found if len(one) >= SHORTEST_KNOWN))


class LeakWatch(io.TextIOBase):
    """The stream of the run's log lines; keeps those that tell what no line may."""

    def __init__(self) -> None:
        self._leaks: list[str] = []
        self.lines = 0

    def write(self, line: str) -> int:
        self.lines += 1
        if found := _SHAPES.search(line) or known_secrets().search(line):
            self._leaks.append(f"{found[0]!r} in {line.strip()!r}")
        return len(line)

    def look(self, path: Path) -> None:
        """Read the log of a child process; the key that `up` shows its owner is no log line."""
        if not path.exists():
            return
        for line in path.read_text(errors="replace").splitlines():
            if not line.startswith("  Admin key "):
                self.write(line)

    def take(self) -> list[str]:
        """Return what was found since the last time."""
        found, self._leaks = self._leaks, []
        return found

    def attach(self) -> None:
        """Let everything that this process logs come here, as the service would write it."""
        if not any(isinstance(one, logs._Handler) for one in logging.getLogger().handlers):
            logs.configure("json", stream=cast("TextIO", self))


WATCH = LeakWatch()
"""One a process."""
