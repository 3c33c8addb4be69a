"""Circuit breakers: while an outside system is down, send it only test requests.

The code that sends requests records each result here. All processes share the circuit of an outside
system. A circuit has three states:

- Closed: requests are sent. ``opens_after`` failed requests in a row open the circuit.
- Open: no requests are sent. After a wait, one process sends a test request.
- On trial: the test request was answered, so requests are sent again. One answered request, or
  ``TRIAL_LASTS`` without a request, closes the circuit. One failed request opens it again, with a
  longer wait.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.backoff import Backoff
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.jobs import Job, JobName

LONGEST_ERROR = 300
"""The largest number of characters that are stored of an error message."""
TRIAL_TAKES = timedelta(seconds=60)
"""How long one process may take to send a test request to an outside system and get the response.

If the process dies, another process may send a test request after this time.
"""
TRIAL_LASTS = timedelta(minutes=2)
"""How long a circuit (breaker) stays on trial after a successful test request, if no request
follows.

If work for the outside system is waiting, a request follows within this time.
"""


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """An outside system and the limits of its circuit breaker.

    Attributes:
        name: The name of the circuit's database row, and the subject of the circuit's alert.
        alert: The kind of alert that is raised when the circuit opens.
        down: The text of the circuit's alert. The last error is appended to it.
        opens_after: The number of failures in a row that open the circuit.
        waits: How long an open circuit waits before each test request; the waits grow.
        forgets_after: If there is no failure for longer than this, the previous failures no longer
            count.
        job: The job that sends the test request.
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
    "If the problem continues, check the provider's status page and this machine's internet "
    "connection.",
    opens_after=5,
    waits=Backoff(first=timedelta(seconds=20), longest=timedelta(minutes=5)),
    forgets_after=timedelta(minutes=10),
    job=JobName.TRY_PROVIDER,
)
MAIL = Circuit(
    name="mail",
    alert=AlertKind.MAIL_DOWN,
    down="The mail server does not accept mail, so alerts are not mailed. GET /v1/alerts lists "
    "them. They are mailed when the server accepts mail again. Check CRM_SMTP_URL, "
    "CRM_ALERT_FROM and CRM_ALERT_EMAILS.",
    opens_after=1,
    waits=Backoff(first=timedelta(seconds=30), longest=timedelta(minutes=30)),
    forgets_after=timedelta(days=1),
    job=JobName.SEND_ALERTS,
)


@dataclass(frozen=True, kw_only=True)
class CircuitState:
    """The stored state of a circuit breaker: columns of ``models.Circuit``."""

    failures: int = 0
    failing_since: datetime | None = None
    last_failed_at: datetime | None = None
    opened_at: datetime | None = None
    trial_at: datetime | None = None
    opens: int = 0

    @property
    def is_open(self) -> bool:
        """True if the circuit is open: no requests may be sent to the outside system."""
        return self.opened_at is not None


def after_failures(
    state: CircuitState, circuit: Circuit, *, count: int, now: datetime
) -> CircuitState:
    """Return the new state of a circuit breaker after ``count`` further requests have failed.

    If enough requests in a row have failed, the circuit opens: no requests are sent for some time.
    """
    if state.is_open:
        # The failed requests had begun before the circuit opened.
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
    """Return the state that a circuit gets when it opens, or when its test request fails.

    Each wait before a test request is longer than the wait before, up to a limit.
    """
    wait = circuit.waits.wait(state.opens + 1)
    return replace(
        state, opened_at=state.opened_at or now, trial_at=now + wait, opens=state.opens + 1
    )


def on_trial(state: CircuitState, circuit: Circuit, *, now: datetime) -> CircuitState:
    """Return the state that an open circuit gets when its test request was answered.

    While a circuit is open, no requests are made to the outside system. In the new state, called
    "on trial", requests are made again, but one failed request opens the circuit.
    """
    failures = max(1, circuit.opens_after - 1)
    return replace(state, failures=failures, opened_at=None, trial_at=now, last_failed_at=now)


READ = text("""
    SELECT failures, failing_since, last_failed_at, opened_at, trial_at, opens
    FROM circuit WHERE name = :name
""")


async def read_circuit(uow: UnitOfWork, circuit: Circuit) -> CircuitState:
    """Read the current state of a circuit breaker; it is closed if no state is stored."""
    found = await uow.session.execute(READ, {"name": circuit.name})
    return typed_row(CircuitState, found.one_or_none()) or CircuitState()


async def record_failures(
    uow: UnitOfWork, circuit: Circuit, *, count: int, error: str, now: datetime
) -> CircuitState:
    """Record that ``count`` requests to an outside system failed.

    After too many failures in a row, the circuit opens: this service sends no more requests to the
    system. When the circuit opens, this function raises the alert and schedules a test request.

    Returns:
        The state of the circuit after these failures.
    """
    before = await _lock(uow, circuit)
    after = after_failures(before, circuit, count=count, now=now)
    await _write(uow, circuit, after, error=error)
    if after.is_open and not before.is_open:
        await _report_down(uow, circuit, after, error=error, now=now)
    return after


# Usually no request has failed before. Then the statement changes no row, which saves time.
CLOSE = text("""
    UPDATE circuit c
    SET failures = 0, failing_since = NULL, opened_at = NULL, trial_at = NULL, opens = 0
    FROM circuit b
    WHERE c.name = :name AND c.failures > 0 AND (:is_proof OR c.opens = 0) AND b.name = c.name
    RETURNING b.opens
""")


async def record_response(
    uow: UnitOfWork, circuit: Circuit, *, now: datetime, is_proof: bool = True
) -> None:
    """Record that an outside system has responded to a request.

    The number of failures becomes 0. A circuit that is open or on trial closes, and its alert is
    resolved.

    Args:
        is_proof: False if the response does not prove that the system works again, for example
            because the request only reads. Then a circuit that is open or on trial does not change.
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
    """Claim the test request of an open circuit, so that only this process sends it.

    Returns:
        True if this process must send the test request. False if the circuit is not open, the test
        request is not due yet, or another process has claimed it.
    """
    values = {"name": circuit.name, "seconds": TRIAL_TAKES.total_seconds(), "now": now}
    return (await uow.session.execute(BEGIN_TRIAL, values)).first() is not None


async def end_trial(
    uow: UnitOfWork, circuit: Circuit, *, error: str | None, now: datetime
) -> CircuitState:
    """Record the result of a test request, and return the new state of the circuit.

    The word "trial" in the name means the test request. If the system responded, the circuit gets
    the state "on trial". If not, it stays open with a longer wait. A circuit that is not open does
    not change.

    Args:
        error: The error of the test request; None if the system responded.
    """
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
    """Close a circuit breaker that has been on trial for at least ``TRIAL_LASTS``.

    The trial begins when the test request is answered. Usually the result of the next request ends
    it. If no request is sent, this function ends it.
    """
    state = await read_circuit(uow, circuit)
    passed_at = state.trial_at
    if state.is_open or passed_at is None or now - passed_at < TRIAL_LASTS:
        return
    await record_response(uow, circuit, now=now)


ADD = text("INSERT INTO circuit (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")

LOCK = text(f"{READ.text} FOR UPDATE")


async def _lock(uow: UnitOfWork, circuit: Circuit) -> CircuitState:
    await uow.session.execute(ADD, {"name": circuit.name})
    found = await uow.session.execute(LOCK, {"name": circuit.name})
    return typed_row(CircuitState, found.one())


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
            **vars(state),
            "error": None if error is None else error[:LONGEST_ERROR],
        },
    )


async def _report_down(
    uow: UnitOfWork, circuit: Circuit, state: CircuitState, *, error: str, now: datetime
) -> None:
    """Raise the alert that the outside system is down, and schedule the next test request."""
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
