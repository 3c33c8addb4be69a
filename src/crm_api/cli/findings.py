"""Findings of `crm-api doctor`, and how they are printed."""

from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COLORS = {"ok": "green", "warning": "yellow", "broken": "red"}


class State(StrEnum):
    """State of a part; only ``broken`` makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One line of the report; ``advice`` says what was found or what to do."""

    part: str
    state: State
    advice: str


def show(checks: list[Check]) -> None:
    """Print one line per check."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("check", "state", "what was found, what to fix"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        color = _COLORS[check.state]
        table.add_row(check.part, f"[{color}]{check.state}[/{color}]", escape(check.advice))
    Console().print(table)
