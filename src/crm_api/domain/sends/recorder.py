"""Answers of calls, kept in memory until they are stored, and written a batch at a time."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError

from crm_api import failpoints, instruments
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.answers import AnswerKind
from crm_api.domain.sends import recording
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.outages import OutageWatch
from crm_api.domain.sends.recording import Answered

log = structlog.get_logger()

RECORD_EVERY = 0.2
RECORD_AT = 100
"""Answers in hand at a crash become unknown, so they are written soon (send-protocol, record)."""
URGENT = {AnswerKind.ACCOUNT_REFUSED, AnswerKind.LATER}
"""These stop or slow what is about to be called, so they are written at once."""
RECORD_RETRY_SECONDS = 1.0
MOST_CONTRADICTIONS = 3
"""As often an id is tried that something else seems to own."""
AWAY = (DBAPIError, OSError, TimeoutError)
"""How it shows that the database is away."""


class Recorder:
    """Writes the answers of one run.

    Args:
        new_uow: Opens a unit of work.
        limiter: Slowed down when the provider asks for it.
        outage: Told how calls ended.
        now: The clock.
        hold_back: Called when nobody may be called any more.
    """

    def __init__(
        self,
        *,
        new_uow: UnitOfWorkFactory,
        limiter: Limiter,
        outage: OutageWatch,
        now: Callable[[], datetime],
        hold_back: Callable[[], None],
    ) -> None:
        self._new_uow = new_uow
        self._limiter = limiter
        self._outage = outage
        self._now = now
        self._hold_back = hold_back
        self._answered: list[Answered] = []
        self._has_answers = asyncio.Event()
        self._is_over = asyncio.Event()

    def put(self, answered: Answered) -> None:
        """Take an answer; it is written soon, or at once when others wait for what it says."""
        self._answered.append(answered)
        if len(self._answered) >= RECORD_AT or answered.answer.kind in URGENT:
            self._has_answers.set()

    def finish(self) -> None:
        """Let ``run`` end once all that was put is stored."""
        self._is_over.set()
        self._has_answers.set()

    async def run(self) -> None:
        """Write answers as they come; ends after ``finish``, when none is left in memory."""
        while not (self._is_over.is_set() and not self._answered):
            if not self._is_over.is_set():
                try:
                    async with asyncio.timeout(RECORD_EVERY):
                        await self._has_answers.wait()
                except TimeoutError:
                    pass
                self._has_answers.clear()
            if self._answered:
                batch, self._answered = self._answered, []
                await self._record_batch(batch)

    async def _record_batch(self, batch: list[Answered]) -> None:
        """Write answers, and again from memory until they are stored.

        An id may be bound to an attempt that only matched it, or have been stored just now; that
        is corrected. One that is another answer's for good costs its own row alone.
        """
        write = recording.record
        contradictions = 0
        while True:
            now = self._now()
            try:
                async with self._new_uow() as uow:
                    await write(uow, batch, now=now)
                    await failpoints.reach("record.open")
                await failpoints.reach("record.committed")
                _count(batch)
                await self._slow_down(batch, now=now)
                if await self._outage.note([item.answer for item in batch]):
                    self._hold_back()
            except IntegrityError:
                contradictions += 1
                write = recording.correct
                if contradictions > 1:
                    log.warning("answers contradict the ledger", count=len(batch))
                    await asyncio.sleep(RECORD_RETRY_SECONDS)
                if contradictions >= MOST_CONTRADICTIONS:
                    if len(batch) > 1:
                        for item in batch:
                            await self._record_batch([item])
                        return
                    write = recording.record_without_ids
            except AWAY as error:
                log.warning("answers not stored yet", count=len(batch), error=type(error).__name__)
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            else:
                return

    async def _slow_down(self, batch: list[Answered], *, now: datetime) -> None:
        throttled = [item for item in batch if item.answer.kind is AnswerKind.LATER]
        if not throttled:
            return
        asked = max(item.answer.retry_after_seconds or 1.0 for item in throttled)
        async with self._new_uow() as uow:
            await self._limiter.delay(uow, until=now + timedelta(seconds=asked))


def _count(batch: list[Answered]) -> None:
    for item in batch:
        instruments.SENDS.labels(str(item.claimed.line_id), item.answer.kind.value).inc()
