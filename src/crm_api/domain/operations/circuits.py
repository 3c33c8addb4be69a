"""Circuits: when an outside system is down, nobody calls it until one call finds that it goes.

The state is a row that all processes share. Closed, calls are made. So many failures in a row,
with no answer between them, open it: nobody calls. After a wait one process tries it with a call
that changes nothing. An answer puts it on trial: calls are made, the first answer to one closes
it, and the first failure opens it again, for longer. Where nothing is called, it closes after a
while on trial.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.operations import circuit_statements as sql
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.jobs import Job, JobName

LONGEST_ERROR = 300
TRIAL_TAKES = timedelta(seconds=60)
"""A process that dies while it tries leaves the next try to another, this much later."""
TRIAL_LASTS = timedelta(minutes=2)
"""Whatever waits to be called has been called by then."""


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """One outside system, and how patient we are with it.

    Attributes:
        name: Its row, and the subject of its alert.
        alert: The alert's kind.
        down: What the alert says when it opens; the error follows.
        opens_after: Failures in a row.
        first_wait: Until the first try; each opening in a row doubles it.
        forgets_after: Failures that are longer apart than this are not in a row.
        job: Tries it; nudged for the time of the next try.
    """

    name: str
    alert: AlertKind
    down: str
    opens_after: int
    first_wait: timedelta
    longest_wait: timedelta
    forgets_after: timedelta
    job: JobName


PROVIDER = Circuit(
    name="openphone",
    alert=AlertKind.PROVIDER_DOWN,
    down="OpenPhone does not answer. No text leaves and nothing is read from it until it does; "
    "nobody's text is lost, and it is tried again by itself, at the latest every five minutes. "
    "If this lasts, see the provider's status page and this machine's way to the internet.",
    opens_after=5,
    first_wait=timedelta(seconds=20),
    longest_wait=timedelta(minutes=5),
    forgets_after=timedelta(minutes=10),
    job=JobName.TRY_PROVIDER,
)
MAIL = Circuit(
    name="mail",
    alert=AlertKind.MAIL_DOWN,
    down="The mail server does not take alerts; they stand here meanwhile, and are mailed once it "
    "does. Check CRM_SMTP_URL, CRM_ALERT_FROM and CRM_ALERT_EMAILS.",
    opens_after=1,
    first_wait=timedelta(seconds=30),
    longest_wait=timedelta(minutes=30),
    forgets_after=timedelta(days=1),
    job=JobName.SEND_ALERTS,
)


@dataclass(frozen=True, kw_only=True)
class CircuitState:
    """A circuit's row."""

    failures: int = 0
    failing_since: datetime | None = None
    last_failed_at: datetime | None = None
    opened_at: datetime | None = None
    trial_at: datetime | None = None
    opens: int = 0

    @property
    def is_open(self) -> bool:
        """True when nothing may be called."""
        return self.opened_at is not None

    @classmethod
    def of(cls, row: Row[tuple[object, ...]] | None) -> Self:
        """Read a row; without one all is well."""
        return cls() if row is None else cls(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name begins so


def after_failures(
    state: CircuitState, circuit: Circuit, *, count: int, now: datetime
) -> CircuitState:
    """Return the state after so many more failures with no answer between them."""
    if state.is_open:
        # Of calls that were under way when it opened.
        return replace(state, failures=state.failures + count, last_failed_at=now)
    last = state.last_failed_at
    if last is not None and now - last > circuit.forgets_after:
        state = CircuitState()
    failures = state.failures + count
    failed = replace(
        state, failures=failures, failing_since=state.failing_since or now, last_failed_at=now
    )
    return opened(failed, circuit, now=now) if failures >= circuit.opens_after else failed


def opened(state: CircuitState, circuit: Circuit, *, now: datetime) -> CircuitState:
    """Return the state with nothing called until the next try; each time it is longer away."""
    wait = min(circuit.longest_wait, circuit.first_wait * 2 ** min(state.opens, 20))
    return replace(
        state, opened_at=state.opened_at or now, trial_at=now + wait, opens=state.opens + 1
    )


def on_trial(state: CircuitState, circuit: Circuit, *, now: datetime) -> CircuitState:
    """Return the state in which calls are made, and the first failure opens it again.

    One failure is kept at least, so that the first answer is noted.
    """
    failures = max(1, circuit.opens_after - 1)
    return replace(state, failures=failures, opened_at=None, trial_at=now, last_failed_at=now)


async def read(uow: UnitOfWork, circuit: Circuit) -> CircuitState:
    """Read how it stands."""
    found = await uow.session.execute(sql.READ, {"name": circuit.name})
    return CircuitState.of(found.one_or_none())


async def note_failures(
    uow: UnitOfWork, circuit: Circuit, *, count: int, error: str, now: datetime
) -> CircuitState:
    """Count calls that had no answer, and open the circuit after so many in a row."""
    before = await _lock(uow, circuit)
    after = after_failures(before, circuit, count=count, now=now)
    await _write(uow, circuit, after, error=error)
    if after.is_open and not before.is_open:
        await _tell(uow, circuit, after, error=error, now=now)
    return after


async def note_answer(
    uow: UnitOfWork, circuit: Circuit, *, now: datetime, is_proof: bool = True
) -> None:
    """Close the circuit, for a call was answered.

    Args:
        is_proof: False for a call of another kind than those that failed, such as a read: it ends
            a row of failures, and does not close what has been open.
    """
    values = {"name": circuit.name, "is_proof": is_proof}
    closed = (await uow.session.execute(sql.CLOSE, values)).one_or_none()
    if closed is not None and closed.opens:
        await operations.resolve_alert(uow, kind=circuit.alert, subject=circuit.name, now=now)


async def begin_trial(uow: UnitOfWork, circuit: Circuit, *, now: datetime) -> bool:
    """Take the turn to try an open circuit; False when it is closed or another's turn."""
    values = {"name": circuit.name, "seconds": TRIAL_TAKES.total_seconds(), "now": now}
    return (await uow.session.execute(sql.BEGIN_TRIAL, values)).first() is not None


async def end_trial(
    uow: UnitOfWork, circuit: Circuit, *, error: str | None, now: datetime
) -> CircuitState:
    """Put the circuit on trial, or wait for longer when there is an error."""
    before = await _lock(uow, circuit)
    if not before.is_open:
        return before
    if error is None:
        after = on_trial(before, circuit, now=now)
    else:
        after = opened(replace(before, last_failed_at=now), circuit, now=now)
        await _tell(uow, circuit, after, error=error, now=now)
    await _write(uow, circuit, after, error=error)
    return after


async def end_quiet_trial(uow: UnitOfWork, circuit: Circuit, *, now: datetime) -> None:
    """Close a circuit that has been on trial for a while without a failure."""
    state = await read(uow, circuit)
    passed_at = state.trial_at
    if state.is_open or passed_at is None or now - passed_at < TRIAL_LASTS:
        return
    await note_answer(uow, circuit, now=now)


async def _lock(uow: UnitOfWork, circuit: Circuit) -> CircuitState:
    await uow.session.execute(sql.ADD, {"name": circuit.name})
    found = await uow.session.execute(sql.LOCK, {"name": circuit.name})
    return CircuitState.of(found.one())


async def _write(
    uow: UnitOfWork, circuit: Circuit, state: CircuitState, *, error: str | None
) -> None:
    await uow.session.execute(
        sql.WRITE,
        {
            "name": circuit.name,
            "failures": state.failures,
            "failing_since": state.failing_since,
            "last_failed_at": state.last_failed_at,
            "opened_at": state.opened_at,
            "trial_at": state.trial_at,
            "opens": state.opens,
            "error": None if error is None else error[:LONGEST_ERROR],
        },
    )


async def _tell(
    uow: UnitOfWork, circuit: Circuit, state: CircuitState, *, error: str, now: datetime
) -> None:
    """Raise the alert, and ask for the next try."""
    wait = (state.trial_at or now) - now
    uow.after_commit(Job(name=circuit.job, delay_seconds=wait.total_seconds()))
    since = state.failing_since or now
    await operations.raise_alert(
        uow,
        kind=circuit.alert,
        subject=circuit.name,
        detail=f"{circuit.down} Failing since {since:%Y-%m-%d %H:%M} UTC: {error[:LONGEST_ERROR]}",
        context={"failures": state.failures},
        now=now,
    )
