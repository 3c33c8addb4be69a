"""Tables of a crash run: all kills, the counted kills, and the faults of the recipients."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from tests.crash.kills import API_STEPS, WORKER_STEPS, Kill, Kind
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
"""Columns of the table that has a row per step. Each column has the sum of some kinds of kill."""
WRONG = ("duplicates", "losses", "after STOP")
ORDER = (*WORKER_STEPS, *API_STEPS)
SHOWN_FAULTS = 50


def tables(kills: Sequence[Kill], verdict: Verdict) -> str:
    """Return the two tables and the figures of a crash run, as Markdown.

    A duplicate or lost message is included in the row of each kill during which its recipient was
    in flight.
    """
    figures = [f"- {name}: {count}" for name, count in sorted(verdict.figures.items())]
    faults = [f"- {fault}" for fault in verdict.faults[:SHOWN_FAULTS]] or ["- none"]
    return "\n".join(
        [
            *_by_kind(kills, verdict),
            "",
            *_by_step(kills, verdict),
            "",
            "Counted at the end:",
            *figures,
            "",
            "Differences between database and provider, and work that did not end:",
            *faults,
        ]
    )


def _by_kind(kills: Sequence[Kill], verdict: Verdict) -> list[str]:
    groups = _grouped(kills, key=lambda kill: kill.kind.value)
    lines = _head("kind of kill", "kills", "counted", "held by the killed process", *WRONG)
    for kind in Kind:
        if group := groups.get(kind.value):
            lines.append(_line(kind.value, *_counts(group), *_wrongs(verdict, group)))
    return [*lines, _line("**all**", *_counts(kills), *_wrongs(verdict))]


def _by_step(kills: Sequence[Kill], verdict: Verdict) -> list[str]:
    groups = _grouped(kills, key=lambda kill: kill.step)
    lines = _head("counted / kills at", *GROUPS, *WRONG)
    for step in sorted(groups, key=lambda name: (*ORDER, name).index(name)):
        group = groups[step]
        cells = [_share(group, kinds) for kinds in GROUPS.values()]
        lines.append(_line(step, *cells, *_wrongs(verdict, group)))
    cells = [_share(kills, kinds) for kinds in GROUPS.values()]
    return [*lines, _line("**all**", *cells, *_wrongs(verdict))]


def _grouped(kills: Sequence[Kill], *, key: Callable[[Kill], str]) -> Mapping[str, Sequence[Kill]]:
    groups: defaultdict[str, list[Kill]] = defaultdict(list)
    for kill in kills:
        groups[key(kill)].append(kill)
    return groups


def _share(group: Sequence[Kill], kinds: frozenset[Kind]) -> str:
    chosen = [kill for kill in group if kill.kind in kinds]
    return f"{sum(kill.counts for kill in chosen)} / {len(chosen)}" if chosen else ""


def _counts(group: Sequence[Kill]) -> tuple[str, ...]:
    own = sum(kill.held.own > 0 for kill in group)
    return str(len(group)), str(sum(kill.counts for kill in group)), str(own)


def _wrongs(verdict: Verdict, group: Sequence[Kill] | None = None) -> tuple[str, ...]:
    """Count the faults of the recipients that were in flight during these kills.

    If ``group`` is None, count the faults of all recipients.
    """
    wrong: tuple[Iterable[UUID | None], ...] = (
        verdict.duplicates,
        verdict.losses,
        verdict.after_stop,
    )
    if group is None:
        return tuple(str(len(list(members))) for members in wrong)
    members_in_flight = frozenset[UUID]().union(*(kill.held.members for kill in group))
    return tuple(str(sum(member in members_in_flight for member in members)) for members in wrong)


def _head(*cells: str) -> list[str]:
    return [_line(*cells), _line("---", *["---:"] * (len(cells) - 1))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
