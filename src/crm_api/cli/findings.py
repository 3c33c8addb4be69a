"""The lines of the report of `crm-api doctor`, and the function that prints them."""

from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COLORS = {"ok": "green", "warning": "yellow", "broken": "red"}


class State(StrEnum):
    """Result of a check. `crm-api doctor` fails only if at least one result is ``broken``."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        part: What was checked, such as ``database``.
        state: The result.
        advice: What was found and, if it is wrong, what to do.
    """

    part: str
    state: State
    advice: str


def show(checks: list[Check]) -> None:
    """Print the checks as a table, in the given order."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("check", "state", "what was found, what to fix"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        color = _COLORS[check.state]
        table.add_row(check.part, f"[{color}]{check.state}[/{color}]", escape(check.advice))
    Console().print(table)
