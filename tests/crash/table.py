"""Tables of a siege: kills, counted kills, and their effects on the recipients in flight."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from tests.crash.strikes import API_STEPS, WORKER_STEPS, Kind, Strike
from tests.crash.verdict import Verdict

GROUPS: Mapping[str, frozenset[Kind]] = {
    "worker SIGKILL": frozenset({Kind.WORKER_KILLED}),
    "worker SIGTERM": frozenset({Kind.WORKER_TERMINATED}),
    "worker SIGSTOP": frozenset({Kind.WORKER_STOPPED}),
    "API": frozenset({Kind.API_KILLED, Kind.API_TERMINATED}),
    "PG backend": frozenset({Kind.BACKEND_TERMINATED, Kind.BACKENDS_TERMINATED}),
    "PG restart": frozenset({Kind.BACKEND_KILLED, Kind.POSTGRES_RESTARTED}),
    "Redis": frozenset({Kind.REDIS_EMPTIED, Kind.REDIS_KILLED}),
}
"""Kinds side by side in the table of steps."""
WRONG = ("duplicates", "losses", "after STOP")
ORDER = (*WORKER_STEPS, *API_STEPS)
SHOWN_FAULTS = 50


def tables(strikes: Sequence[Strike], verdict: Verdict) -> str:
    """Return both tables and the figures, as Markdown.

    A duplicate or loss appears in the row of every kill that found its recipient in flight.
    """
    figures = [f"- {name}: {count}" for name, count in sorted(verdict.figures.items())]
    faults = [f"- {fault}" for fault in verdict.faults[:SHOWN_FAULTS]] or ["- none"]
    return "\n".join(
        [
            *_by_kind(strikes, verdict),
            "",
            *_by_step(strikes, verdict),
            "",
            "What was counted:",
            *figures,
            "",
            "Where database and provider disagree, or something is stuck:",
            *faults,
        ]
    )


def _by_kind(strikes: Sequence[Strike], verdict: Verdict) -> list[str]:
    groups = _grouped(strikes, key=lambda strike: strike.kind.value)
    lines = _head("kind of kill", "kills", "counted", "held by the struck", *WRONG)
    for kind in Kind:
        if group := groups.get(kind.value):
            lines.append(_line(kind.value, *_counts(group), *_wrongs(verdict, group)))
    return [*lines, _line("**all**", *_counts(strikes), *_wrongs(verdict))]


def _by_step(strikes: Sequence[Strike], verdict: Verdict) -> list[str]:
    groups = _grouped(strikes, key=lambda strike: strike.step)
    lines = _head("counted / kills at", *GROUPS, *WRONG)
    for step in sorted(groups, key=lambda name: (*ORDER, name).index(name)):
        group = groups[step]
        cells = [_share(group, kinds) for kinds in GROUPS.values()]
        lines.append(_line(step, *cells, *_wrongs(verdict, group)))
    cells = [_share(strikes, kinds) for kinds in GROUPS.values()]
    return [*lines, _line("**all**", *cells, *_wrongs(verdict))]


def _grouped(
    strikes: Sequence[Strike], *, key: Callable[[Strike], str]
) -> Mapping[str, Sequence[Strike]]:
    groups: defaultdict[str, list[Strike]] = defaultdict(list)
    for strike in strikes:
        groups[key(strike)].append(strike)
    return groups


def _share(group: Sequence[Strike], kinds: frozenset[Kind]) -> str:
    chosen = [strike for strike in group if strike.kind in kinds]
    return f"{sum(strike.counts for strike in chosen)} / {len(chosen)}" if chosen else ""


def _counts(group: Sequence[Strike]) -> tuple[str, ...]:
    own = sum(strike.held.own > 0 for strike in group)
    return str(len(group)), str(sum(strike.counts for strike in group)), str(own)


def _wrongs(verdict: Verdict, group: Sequence[Strike] | None = None) -> tuple[str, ...]:
    """Count the faults of the recipients that these strikes found in flight; None counts all."""
    wrong: tuple[Iterable[UUID | None], ...] = (
        verdict.duplicates,
        verdict.losses,
        verdict.after_stop,
    )
    if group is None:
        return tuple(str(len(list(members))) for members in wrong)
    struck = frozenset[UUID]().union(*(strike.held.members for strike in group))
    return tuple(str(sum(member in struck for member in members)) for members in wrong)


def _head(*cells: str) -> list[str]:
    return [_line(*cells), _line("---", *["---:"] * (len(cells) - 1))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
