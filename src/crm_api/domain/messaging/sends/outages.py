"""Detect outages of the provider with a circuit breaker, and send nothing while it is open."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts.circuits import Circuit
from crm_api.domain.provider.openphone.answers import AnswerKind, SendAnswer
from crm_api.platform.database import UnitOfWorkFactory

NOTE_EVERY = timedelta(seconds=1)
"""Successes keep the circuit breaker closed. They are reported to the circuit breaker at most once
in this time."""
_SERVER_ERROR = 500


class OutageWatch:
    """Reports the results of a dispatcher run to the circuit breaker, and asks it whether to stop.

    If the circuit breaker is None, requests are never stopped.
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

    async def note(self, answers: Sequence[SendAnswer]) -> bool:
        """Report the results of requests; return True if the circuit breaker is open now."""
        if self._circuit is None:
            return False
        now = self._now()
        failures = [answer for answer in answers if is_failure(answer)]
        if any(is_answer(answer) for answer in answers):
            if self._noted_at is None or now - self._noted_at >= NOTE_EVERY:
                self._noted_at = now
                async with self._new_uow() as uow:
                    await circuits.record_answer(uow, self._circuit, now=now)
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


def is_failure(answer: SendAnswer) -> bool:
    """Return True if the provider failed: no connection, no response, or a 5xx HTTP status."""
    if answer.kind is AnswerKind.NOT_CONNECTED:
        return True
    has_failed = answer.http_status is None or answer.http_status >= _SERVER_ERROR
    return answer.kind is AnswerKind.UNCLEAR and has_failed


def is_answer(answer: SendAnswer) -> bool:
    """Return True if the provider responded with a status below 500."""
    return answer.kind is not AnswerKind.TOO_LATE and not is_failure(answer)


def _sentence(answer: SendAnswer) -> str:
    said = answer.detail or answer.code or answer.kind.value
    return said if answer.http_status is None else f"HTTP {answer.http_status}: {said}"
