"""Send no requests while the provider asks for a pause (``Retry-After``) or has an outage.

A circuit breaker detects outages.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.circuits import Circuit
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.messaging.sends.limiter import LONGEST_PAUSE, PROVIDER, Limiter
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName

NOTE_EVERY = timedelta(seconds=1)
"""Successful requests are reported to the circuit breaker at most once in this time. The circuit
breaker stops all requests after repeated failures; a reported success keeps requests allowed."""
PAUSE_MARGIN = timedelta(minutes=1)
"""Tolerance for finding the messages that a pause has postponed, when a user ends the pause early.

The times of these messages can differ from the times of the pause, for two reasons:

- Several requests may be in progress when the provider asks for a pause. Each of their responses
  moves the end of the pause.
- The end of the pause is computed by the worker's clock, but the postponed messages wait by the
  database's clock.
"""
_SERVER_ERROR = 500


class OutageWatch:
    """Decides from the results of requests whether requests to the provider must stop.

    The decision is made by a circuit breaker. If ``circuit`` is None, requests never stop.
    """

    def __init__(
        self, circuit: Circuit | None, *, new_uow: UnitOfWorkFactory, now: Callable[[], datetime]
    ) -> None:
        self._circuit = circuit
        self._new_uow = new_uow
        self._now = now
        self._noted_at: datetime | None = None

    async def is_on(self) -> bool:
        """Return True if the circuit breaker is open, so that no request may begin."""
        if self._circuit is None:
            return False
        async with self._new_uow() as uow:
            return (await circuits.read_circuit(uow, self._circuit)).is_open

    async def note(self, answers: Sequence[SendResponse]) -> bool:
        """Record in the circuit breaker whether the provider responded to requests.

        While the circuit breaker is open, no requests are sent to the provider.

        Args:
            answers: The results of the requests.

        Returns:
            True if the provider responded to none of the requests, and the circuit breaker is now
            open.
        """
        if self._circuit is None:
            return False
        now = self._now()
        failures = [answer for answer in answers if is_failure(answer)]
        if any(is_response(answer) for answer in answers):
            if self._noted_at is None or now - self._noted_at >= NOTE_EVERY:
                self._noted_at = now
                async with self._new_uow() as uow:
                    await circuits.record_response(uow, self._circuit, now=now)
            return False
        if not failures:
            return False
        self._noted_at = None
        async with self._new_uow() as uow:
            state = await circuits.record_failures(
                uow,
                self._circuit,
                count=len(failures),
                error=_sentence(failures[-1]),
                now=now,
            )
        return state.is_open


def is_failure(answer: SendResponse) -> bool:
    """Return True if the provider failed: no connection, no response, or a 5xx HTTP status."""
    if answer.kind is ResponseKind.NOT_CONNECTED:
        return True
    has_failed = answer.http_status is None or answer.http_status >= _SERVER_ERROR
    return answer.kind is ResponseKind.UNCLEAR and has_failed


def is_response(answer: SendResponse) -> bool:
    """Return True if the provider responded with a status below 500."""
    return answer.kind is not ResponseKind.TOO_LATE and not is_failure(answer)


def _sentence(answer: SendResponse) -> str:
    said = answer.detail or answer.code or answer.kind.value
    return said if answer.http_status is None else f"HTTP {answer.http_status}: {said}"


# A message that the provider refused with status 429 is due at the end of the pause. If the pause
# ends early, the statements MAKE_RECIPIENTS_DUE and MAKE_MESSAGES_DUE make the message due
# immediately. If another transaction has locked the row of the message, the message is being sent
# or stopped, so the row is skipped.
_WAS_POSTPONED = """EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE {of} AND a.status = 'released' AND a.called_at IS NOT NULL
          AND a.answered_at >= :since)"""


async def begin_provider_pause(
    uow: UnitOfWork,
    limiter: Limiter,
    *,
    seconds: float,
    asked_seconds: float | None,
    now: datetime,
) -> datetime:
    """Pause all requests with the provider's API key.

    If the provider asked for a longer pause than ``seconds``, an alert is raised.

    Args:
        seconds: How long to pause.
        asked_seconds: The length of the pause that the provider asked for. None if the provider did
            not ask for a pause longer than ``seconds``.

    Returns:
        When requests may begin again.
    """
    until = await limiter.pause(
        uow, seconds=seconds, asked_seconds=asked_seconds or seconds, now=now
    )
    if asked_seconds is not None:
        await alerts.raise_alert(
            uow,
            kind=AlertKind.PROVIDER_ASKED_TO_WAIT,
            subject=PROVIDER,
            detail="OpenPhone answered a message with status 429 and asked for a pause of "
            f"{asked_seconds:g} seconds (Retry-After). This service sends nothing until "
            f"{until:%Y-%m-%d %H:%M:%S} UTC. Then it tries again, at least every ten minutes. Ask "
            "OpenPhone's support for the cause. To end the pause immediately, use POST "
            "/v1/lines/{id}/unblock with the id of any line.",
            context={"asked_seconds": asked_seconds, "until": until.isoformat()},
            now=now,
        )
    return until


MAKE_RECIPIENTS_DUE = text(f"""
    UPDATE campaign_membership m SET due_at = :now, updated_at = :now
    FROM (
        SELECT m.id
        FROM campaign c JOIN campaign_membership m ON m.campaign_id = c.id
        WHERE c.status IN ('running', 'paused', 'blocked') AND m.status = 'pending'
          AND m.due_at > :now AND m.due_at <= :until
          AND {_WAS_POSTPONED.format(of="a.membership_id = m.id AND a.kind = 'campaign'")}
        ORDER BY m.id FOR NO KEY UPDATE OF m SKIP LOCKED
    ) f WHERE m.id = f.id
""")

MAKE_MESSAGES_DUE = text(f"""
    UPDATE activity t SET send_after = :now, updated_at = :now
    FROM (
        SELECT t.id FROM activity t
        WHERE t.status = 'queued' AND t.send_after > :now AND t.send_after <= :until
          AND {_WAS_POSTPONED.format(of="a.phone = t.phone AND a.activity_id = t.id")}
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    ) f WHERE t.id = f.id
""")


async def end_provider_pause(uow: UnitOfWork, *, actor: str, now: datetime) -> None:
    """End the current pause early, because a user requested it; do nothing if there is no pause.

    Messages that the pause postponed become due immediately.
    """
    limiter = Limiter(rate_per_second=1)
    hold = await limiter.read_pause(uow, now=now)
    if hold is None or not await limiter.end_pause(uow, now=now):
        return
    span = {
        "now": now,
        "until": hold.until + PAUSE_MARGIN,
        "since": hold.until - LONGEST_PAUSE - PAUSE_MARGIN,
    }
    await uow.session.execute(MAKE_RECIPIENTS_DUE, span)
    await uow.session.execute(MAKE_MESSAGES_DUE, span)
    await note_decision(
        uow, actor=actor, action="end_provider_hold", subject=PROVIDER, detail={}, now=now
    )
    await alerts.resolve_alert(
        uow, kind=AlertKind.PROVIDER_ASKED_TO_WAIT, subject=PROVIDER, now=now
    )
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    uow.after_commit(Job(name=JobName.SEND_MESSAGES))
