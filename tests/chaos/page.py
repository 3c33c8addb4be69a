"""Write the table of a chaos run as Markdown, and store it in a page of the documentation."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.invariants import CHECKS
from tests.chaos.traffic import Outcome
from tests.chaos.trial import Trial

BEGIN = "<!-- a run begins: python -m tests.chaos --page writes up to its end -->"
END = "<!-- a run ends -->"
_HEAD = (
    "fault", "fault lasted", "requests failed", "no message for", "messages as before after",
    "webhooks", "API", "twice", "lost", "after STOP", "invariants", "the service reports",
)  # fmt: skip


def table(trials: Sequence[Trial]) -> str:
    """Return the table of the faults as Markdown. All its times are in seconds."""
    lines = [_line(*_HEAD), _line("---", *["---:"] * (len(_HEAD) - 3), "---", "---")]
    return "\n".join([*lines, *(_row(trial) for trial in trials)])


def describe_run(trials: Sequence[Trial], *, seed: int, took: float) -> str:
    """Return the text of a run: its date, seed, duration, machine and result, then the table."""
    run = [trial for trial in trials if trial.not_run is None]
    loads = sorted(trial.load for trial in run) or [0.0]
    messages = sum(trial.figures["messages accepted"] for trial in run)
    clean = sum(trial.is_clean for trial in run)
    words = (
        f"{time.strftime('%-d %B %Y, %H:%M', time.gmtime())} UTC, `SEED={seed}`, {took:.0f} s, "
        f"{os.cpu_count()} cores, load average {loads[0]:.1f} to {loads[-1]:.1f}. "
        f"{clean} of {len(run)} clean, {len(trials) - len(run)} not run; "
        f"{messages} messages accepted."
    )
    return f"{words}\n\n{table(trials)}"


def write(page: Path, words: str) -> None:
    """Write the text of a run into the page. It replaces the text of the previous run."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{words}\n\n{END}{after}")


def _row(trial: Trial) -> str:
    name = trial.fault.name
    if trial.not_run is not None:
        return _line(name, trial.not_run, *[""] * (len(_HEAD) - 2))
    recovery = trial.recovery
    if recovery is None:
        raise ValueError(name)
    return _line(
        name,
        f"{trial.lasted:.1f}",
        _requests(trial),
        f"{recovery.longest_gap:.1f}",
        *(_seconds(found) for found in (recovery.messages, recovery.webhooks, recovery.api)),
        str(trial.duplicates),
        str(trial.lost),
        str(trial.after_stop),
        _invariants(trial),
        "; ".join(trial.reported),
    )


def _requests(trial: Trial) -> str:
    failed = {
        outcome: count
        for outcome, count in sorted(trial.requests.items())
        if outcome is not Outcome.ANSWERED
    }
    outcomes = f" ({', '.join(f'{count} {outcome}' for outcome, count in failed.items())})"
    return f"{sum(failed.values())} of {trial.requests.total()}{outcomes if failed else ''}"


def _invariants(trial: Trial) -> str:
    if trial.broken:
        return f"**broken: {', '.join(trial.broken)}**"
    if trial.wrong:
        return f"**{trial.wrong[0]}**"
    return f"all {len(CHECKS)} hold"


def _seconds(found: float | None) -> str:
    return "**not**" if found is None else f"{found:.1f}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
