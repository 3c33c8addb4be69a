"""Sends and the provider's circuit: when nobody is answered, nobody more is called."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.answers import AnswerKind, SendAnswer
from crm_api.domain.operations import circuits
from crm_api.domain.operations.circuits import Circuit

NOTE_EVERY = timedelta(seconds=1)
"""An answer closes the circuit for everybody; all are well for as long as one of these is noted."""
_SERVER_ERROR = 500


class OutageWatch:
    """What one run of sends tells the circuit, and hears from it; without one nothing is held."""

    def __init__(
        self, circuit: Circuit | None, *, new_uow: UnitOfWorkFactory, now: Callable[[], datetime]
    ) -> None:
        self._circuit = circuit
        self._new_uow = new_uow
        self._now = now
        self._noted_at: datetime | None = None

    async def is_on(self) -> bool:
        """Say whether nobody may be called now."""
        if self._circuit is None:
            return False
        async with self._new_uow() as uow:
            return (await circuits.read(uow, self._circuit)).is_open

    async def note(self, answers: Sequence[SendAnswer]) -> bool:
        """Tell the circuit how calls ended; True when nobody may be called any more."""
        if self._circuit is None:
            return False
        now = self._now()
        failures = [answer for answer in answers if is_failure(answer)]
        if any(is_answer(answer) for answer in answers):
            if self._noted_at is None or now - self._noted_at >= NOTE_EVERY:
                self._noted_at = now
                async with self._new_uow() as uow:
                    await circuits.note_answer(uow, self._circuit, now=now)
            return False
        if not failures:
            return False
        self._noted_at = None
        async with self._new_uow() as uow:
            state = await circuits.note_failures(
                uow,
                self._circuit,
                count=len(failures),
                error=_sentence(failures[-1]),
                now=now,
            )
        return state.is_open


def is_failure(answer: SendAnswer) -> bool:
    """Say whether the provider did not answer: no connection, no answer, or 5xx."""
    if answer.kind is AnswerKind.NOT_CONNECTED:
        return True
    has_failed = answer.http_status is None or answer.http_status >= _SERVER_ERROR
    return answer.kind is AnswerKind.UNCLEAR and has_failed


def is_answer(answer: SendAnswer) -> bool:
    """Say whether the provider answered; a body that we withheld tells nothing about it."""
    return answer.kind is not AnswerKind.TOO_LATE and not is_failure(answer)


def _sentence(answer: SendAnswer) -> str:
    said = answer.detail or answer.code or answer.kind.value
    return said if answer.http_status is None else f"HTTP {answer.http_status}: {said}"
