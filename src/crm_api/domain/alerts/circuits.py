"""Circuit breakers: stop calling an outside system that is down until one test call succeeds.

All processes share the state, which is one row per system. The states are:

- Closed: calls are made. ``opens_after`` failures in a row, with no answer between them, open it.
- Open: no calls are made. After a wait, one process makes a test call that changes nothing.
- On trial (after the test call was answered): calls are made. The first answer closes the circuit.
  The first failure opens it again, with a longer wait. It also closes after ``TRIAL_LASTS``
  without any call.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import Row, text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.backoff import Backoff
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

LONGEST_ERROR = 300
TRIAL_TAKES = timedelta(seconds=60)
"""If the process that makes the test call dies, another one may try after this time."""
TRIAL_LASTS = timedelta(minutes=2)
"""Long enough for every waiting call to be made."""


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """One outside system, with the limits of its circuit.

    Attributes:
        name: The name of its row, and the subject of its alert.
        alert: The alert's kind.
        down: The alert's text when the circuit opens; the error is appended.
        opens_after: Number of failures in a row that open it.
        waits: Time until the next test call, by the number of openings in a row.
        forgets_after: Failures further apart than this do not count as failures in a row.
        job: The job that makes the test call; it is scheduled for the time of the next one.
    """

    name: str
    alert: AlertKind
    down: str
    opens_after: int
    waits: Backoff
    forgets_after: timedelta
    job: JobName


PROVIDER = Circuit(
    name="openphone",
    alert=AlertKind.PROVIDER_DOWN,
    down="OpenPhone does not answer. Until it does, no message is sent and nothing is read from "
    "it. No message is lost: the service tries again by itself, at least every five minutes. "
    "If this lasts, check the provider's status page and this machine's internet connection.",
    opens_after=5,
    waits=Backoff(first=timedelta(seconds=20), longest=timedelta(minutes=5)),
    forgets_after=timedelta(minutes=10),
    job=JobName.TRY_PROVIDER,
)
MAIL = Circuit(
    name="mail",
    alert=AlertKind.MAIL_DOWN,
    down="The mail server does not accept alerts. They are listed here meanwhile, and are mailed "
    "when it accepts them. Check CRM_SMTP_URL, CRM_ALERT_FROM and CRM_ALERT_EMAILS.",
    opens_after=1,
    waits=Backoff(first=timedelta(seconds=30), longest=timedelta(minutes=30)),
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
        """True when no call may be made."""
        return self.opened_at is not None

    @classmethod
    def of(cls, row: Row[tuple[object, ...]] | None) -> Self:
        """Read a row; None is a closed circuit without failures."""
        return cls() if row is None else cls(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name begins so


def after_failures(
    state: CircuitState, circuit: Circuit, *, count: int, now: datetime
) -> CircuitState:
    """Return the state after ``count`` more failures with no answer between them."""
    if state.is_open:
        # These calls were under way when the circuit opened.
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
    """Return the open state; the wait until the test call doubles with each opening in a row."""
    wait = circuit.waits.wait(state.opens + 1)
    return replace(
        state, opened_at=state.opened_at or now, trial_at=now + wait, opens=state.opens + 1
    )


def on_trial(state: CircuitState, circuit: Circuit, *, now: datetime) -> CircuitState:
    """Return the state in which calls are made and the first failure opens the circuit again.

    It keeps at least one failure, because ``note_answer`` ignores a circuit without failures.
    """
    failures = max(1, circuit.opens_after - 1)
    return replace(state, failures=failures, opened_at=None, trial_at=now, last_failed_at=now)


READ = text("""
    SELECT failures, failing_since, last_failed_at, opened_at, trial_at, opens
    FROM circuit WHERE name = :name
""")


async def read_circuit(uow: UnitOfWork, circuit: Circuit) -> CircuitState:
    """Read the present state of a circuit."""
    found = await uow.session.execute(READ, {"name": circuit.name})
    return CircuitState.of(found.one_or_none())


async def record_failures(
    uow: UnitOfWork, circuit: Circuit, *, count: int, error: str, now: datetime
) -> CircuitState:
    """Count calls without an answer; open the circuit after ``opens_after`` in a row.

    Opening raises the alert and schedules the test call.
    """
    before = await _lock(uow, circuit)
    after = after_failures(before, circuit, count=count, now=now)
    await _write(uow, circuit, after, error=error)
    if after.is_open and not before.is_open:
        await _report_down(uow, circuit, after, error=error, now=now)
    return after


# Usually nothing has failed, and the statement writes nothing. An answer that is not proof resets
# the count of failures, but does not close a circuit that has opened.
CLOSE = text("""
    UPDATE circuit c
    SET failures = 0, failing_since = NULL, opened_at = NULL, trial_at = NULL, opens = 0
    FROM circuit b
    WHERE c.name = :name AND c.failures > 0 AND (:is_proof OR c.opens = 0) AND b.name = c.name
    RETURNING b.opens
""")


async def record_answer(
    uow: UnitOfWork, circuit: Circuit, *, now: datetime, is_proof: bool = True
) -> None:
    """Close the circuit after a call was answered, and resolve its alert.

    Args:
        is_proof: False for a call of another kind than those that failed, such as a read. It
            resets the count of failures, but does not close a circuit that has opened.
    """
    values = {"name": circuit.name, "is_proof": is_proof}
    closed = (await uow.session.execute(CLOSE, values)).one_or_none()
    if closed is not None and closed.opens:
        await alerts.resolve_alert(uow, kind=circuit.alert, subject=circuit.name, now=now)


BEGIN_TRIAL = text("""
    UPDATE circuit SET trial_at = CAST(:now AS timestamptz) + make_interval(secs => :seconds)
    WHERE name = :name AND opened_at IS NOT NULL AND trial_at <= :now
    RETURNING name
""")


async def begin_trial(uow: UnitOfWork, circuit: Circuit, *, now: datetime) -> bool:
    """Claim the test call of an open circuit for this process.

    Returns:
        False when the circuit is closed, the test call is not due, or another process has it.
    """
    values = {"name": circuit.name, "seconds": TRIAL_TAKES.total_seconds(), "now": now}
    return (await uow.session.execute(BEGIN_TRIAL, values)).first() is not None


async def end_trial(
    uow: UnitOfWork, circuit: Circuit, *, error: str | None, now: datetime
) -> CircuitState:
    """Record the test call: put the circuit on trial, or wait longer if ``error`` is given."""
    before = await _lock(uow, circuit)
    if not before.is_open:
        return before
    if error is None:
        after = on_trial(before, circuit, now=now)
    else:
        after = opened(replace(before, last_failed_at=now), circuit, now=now)
        await _report_down(uow, circuit, after, error=error, now=now)
    await _write(uow, circuit, after, error=error)
    return after


async def end_trial_without_answer(uow: UnitOfWork, circuit: Circuit, *, now: datetime) -> None:
    """Close a circuit that has been on trial for ``TRIAL_LASTS`` without a failure."""
    state = await read_circuit(uow, circuit)
    passed_at = state.trial_at
    if state.is_open or passed_at is None or now - passed_at < TRIAL_LASTS:
        return
    await record_answer(uow, circuit, now=now)


ADD = text("INSERT INTO circuit (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")

LOCK = text("""
    SELECT failures, failing_since, last_failed_at, opened_at, trial_at, opens
    FROM circuit WHERE name = :name FOR UPDATE
""")


async def _lock(uow: UnitOfWork, circuit: Circuit) -> CircuitState:
    await uow.session.execute(ADD, {"name": circuit.name})
    found = await uow.session.execute(LOCK, {"name": circuit.name})
    return CircuitState.of(found.one())


WRITE = text("""
    UPDATE circuit
    SET failures = :failures, failing_since = :failing_since, last_failed_at = :last_failed_at,
        opened_at = :opened_at, trial_at = :trial_at, opens = :opens,
        last_error = coalesce(:error, last_error)
    WHERE name = :name
""")


async def _write(
    uow: UnitOfWork, circuit: Circuit, state: CircuitState, *, error: str | None
) -> None:
    await uow.session.execute(
        WRITE,
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


async def _report_down(
    uow: UnitOfWork, circuit: Circuit, state: CircuitState, *, error: str, now: datetime
) -> None:
    """Raise the alert, and schedule the test call."""
    wait = (state.trial_at or now) - now
    uow.after_commit(Job(name=circuit.job, delay_seconds=wait.total_seconds()))
    since = state.failing_since or now
    await alerts.raise_alert(
        uow,
        kind=circuit.alert,
        subject=circuit.name,
        detail=f"{circuit.down} Failing since {since:%Y-%m-%d %H:%M} UTC: {error[:LONGEST_ERROR]}",
        context={"failures": state.failures},
        now=now,
    )
