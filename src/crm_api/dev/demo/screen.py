"""Print the demo's output: what it does now, progress bars, and tables at the end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from crm_api.dev.demo.figures import Check, FigureCheck

PLAIN_GAP_SECONDS = 5.0
"""Shortest time in seconds between two progress lines if the output is not a terminal."""
WIDE = 90
"""If the screen has at least this width in characters, the table of figures has a space on both
sides of each value."""


class Bars:
    """Progress bars on a terminal; a progress line every few seconds if the output is a file."""

    def __init__(self, console: Console, totals: Mapping[str, int], began: float) -> None:
        self._console = console
        self._began = began
        self._shown_at = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self.progress: Progress | None = None
        if console.is_terminal:
            self.progress = Progress(
                TextColumn("  {task.description:<10}"),
                BarColumn(bar_width=40),
                MofNCompleteColumn(),
                console=console,
            )
            self._tasks = {
                name: self.progress.add_task(name, total=total) for name, total in totals.items()
            }

    def show(
        self, values: Mapping[str, int], *, total: int | None = None, is_last: bool = False
    ) -> None:
        """Show new values in the progress bars; without a terminal, print a line every few seconds.

        Args:
            values: The new value of each bar, by the name of the bar.
            total: The new maximum of every given bar; None keeps the maximums.
            is_last: True prints a line even if the previous line was printed a short time ago.
        """
        for name, value in values.items():
            if self.progress is not None:
                self.progress.update(self._tasks[name], completed=value, total=total)
        now = time.monotonic()
        if self.progress is None and (is_last or now - self._shown_at >= PLAIN_GAP_SECONDS):
            self._shown_at = now
            counts = "  ".join(f"{name} {value}" for name, value in values.items())
            self._console.print(f"  {now - self._began:5.0f} s  {counts}", highlight=False)


class Screen:
    """Prints the demo's output, with colours and bars on a terminal, else as plain lines."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.began

    def step(self, text: str) -> None:
        """Print a sentence about the current step, with the seconds since the start."""
        self._console.print(
            f"{self.seconds:7.1f} s  {text}", highlight=False, markup=False, soft_wrap=True
        )

    @contextmanager
    def bars(self, totals: Mapping[str, int]) -> Iterator[Bars]:
        """Show progress bars until the block ends, one for each name in ``totals``."""
        bars = Bars(self._console, totals, self.began)
        if bars.progress is None:
            yield bars
            return
        with bars.progress:
            yield bars

    def result(self, rows: Sequence[tuple[str, str]], checks: Sequence[Check]) -> None:
        """Print two tables: the results of the demo, and the figures from three sources.

        Args:
            rows: The results of the demo, as pairs of a name and a value.
        """
        outcome = Table(title="Outcome", title_justify="left", show_header=False)
        outcome.add_column(no_wrap=True)
        outcome.add_column(justify="right")
        for name, value in rows:
            outcome.add_row(name, value)
        proof = Table(title="The same figures from three sources", title_justify="left")
        proof.add_column("", no_wrap=True)
        for witness in ("stats", "database", "sandbox"):
            proof.add_column(witness, justify="right")
        proof.add_column("agree")
        for check in checks:
            counts = (check.stats, check.store, check.sandbox)
            proof.add_row(
                check.name,
                *("" if count is None else str(count) for count in counts),
                "[green]yes[/]" if check.agrees else "[bold red]NO[/]",
            )
        self._console.print()
        self._console.print(outcome)
        self._console.print(proof)

    def figures(self, checks: Sequence[FigureCheck]) -> None:
        """Print a table that compares three values of each figure's numerator.

        - ``counted``: the value that the API returns with the figure.
        - ``its rows``: the value that the demo computes from the list of the figure's records.
        - ``recorded``: the value that the demo expects; empty if it expects no particular value.
        """
        padding = (0, 1) if self._console.width >= WIDE else 0
        table = Table(title="What the campaign earned", title_justify="left", padding=padding)
        table.add_column("", no_wrap=True)
        for heading in ("figure", "counted", "its rows", "recorded"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("agree")
        for check in checks:
            table.add_row(
                check.name,
                check.figure,
                f"{check.counted:f}",
                f"{check.rows:f}",
                "" if check.recorded is None else str(check.recorded),
                "[green]yes[/]" if check.agrees else "[bold red]NO[/]",
            )
        self._console.print(table)
