"""Keep the answers of calls in memory until they are stored, and store them in batches."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError

from crm_api.domain.messaging.sends import matching, provider_pauses, record
from crm_api.domain.messaging.sends.limiter import MOST_WAIT, Limiter
from crm_api.domain.messaging.sends.outages import OutageWatch
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.answers import AnswerKind
from crm_api.platform import failpoints, instruments
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

RECORD_EVERY = 0.2
"""Seconds between two batches, at most."""
RECORD_AT = 100
"""Answers that are written without a further wait. Both limits are small because answers that are
not stored at a crash become unknown."""
URGENT = {AnswerKind.ACCOUNT_REFUSED, AnswerKind.LATER}
"""Answers that stop or slow the next calls, so they are written at once."""
RECORD_RETRY_SECONDS = 1.0
MOST_CONTRADICTIONS = 3
"""Attempts to store a message id that another row owns, before the id is left out."""
AWAY = (DBAPIError, OSError, TimeoutError)
"""Errors that mean that the database is unreachable."""
CONTENT_CLASSES = frozenset({"22", "54"})
"""Classes of SQLSTATE: data exception, program limit exceeded.

Source: PostgreSQL 18 documentation, appendix A, read 2026-11-28.
"""
UNASKED_SECONDS = 1.0
"""Pause after a 429 that names no pause."""
Write = Callable[..., Awaitable[None]]


class Recorder:
    """Writes the answers of one run.

    Args:
        new_uow: Opens a unit of work.
        limiter: Gets the pauses that the provider asks for.
        outage: Gets the answers, to detect an outage of the provider.
        now: The clock.
        hold_back: Called when an outage means that the run must make no more calls.
        pause: Called with the end of a pause that is longer than a run waits.
    """

    def __init__(
        self,
        *,
        new_uow: UnitOfWorkFactory,
        limiter: Limiter,
        outage: OutageWatch,
        now: Callable[[], datetime],
        hold_back: Callable[[], None],
        pause: Callable[[datetime], None],
    ) -> None:
        self._new_uow = new_uow
        self._limiter = limiter
        self._outage = outage
        self._now = now
        self._hold_back = hold_back
        self._pause = pause
        self._answered: list[Answered] = []
        self._users: dict[UUID, str] = {}
        self._has_answers = asyncio.Event()
        self._is_over = asyncio.Event()

    def put(self, answered: Answered) -> None:
        """Queue an answer. It is written within ``RECORD_EVERY``, or at once if it is urgent."""
        self._answered.append(answered)
        if len(self._answered) >= RECORD_AT or answered.answer.kind in URGENT:
            self._has_answers.set()

    def finish(self) -> None:
        """Let ``run`` end when all queued answers are stored."""
        self._is_over.set()
        self._has_answers.set()

    async def run(self) -> None:
        """Write answers until ``finish`` was called and none is left in memory."""
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
        """Write answers, and repeat until they are stored.

        An id may belong to an attempt that only matched it, or to a message stored a moment ago;
        that is corrected. An answer whose content cannot be stored does not affect the others.
        """
        write = record.record_answers
        contradictions = 0
        while True:
            now = self._now()
            try:
                await self._write(write, batch, now=now)
            except IntegrityError:
                contradictions += 1
                write = record.record_and_correct_matches
                if contradictions > 1:
                    log.warning("answers contradict the ledger", count=len(batch))
                    await asyncio.sleep(RECORD_RETRY_SECONDS)
                if contradictions >= MOST_CONTRADICTIONS:
                    if len(batch) > 1:
                        await self._record_each(batch)
                        return
                    write = record.record_without_ids
            except AWAY as error:
                if is_about_content(error):
                    await self._record_unstorable(batch)
                    return
                log.warning("answers not stored yet", count=len(batch), error=type(error).__name__)
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            except Exception:
                log.exception("answers cannot be stored", count=len(batch))
                await self._record_unstorable(batch)
                return
            else:
                return

    async def _write(self, write: Write, batch: list[Answered], *, now: datetime) -> None:
        """Write answers in one transaction, then apply pauses, users and outages from them."""
        async with self._new_uow() as uow:
            await write(uow, batch, now=now)
            await failpoints.reach("record.open")
        await failpoints.reach("record.committed")
        _count(batch)
        await self._slow_down(batch, now=now)
        await self._learn_users(batch)
        if await self._outage.note([item.answer for item in batch]):
            self._hold_back()

    async def _record_each(self, batch: list[Answered]) -> None:
        for item in batch:
            await self._record_batch([item])

    async def _record_unstorable(self, batch: list[Answered]) -> None:
        """Write each answer alone; if it cannot be stored, write it without its text.

        If that fails too, the attempt stays as it is. When its lease ends it becomes unknown and
        is looked up.
        """
        if len(batch) > 1:
            await self._record_each(batch)
            return
        while True:
            try:
                await self._write(record.record_without_text, batch, now=self._now())
            except AWAY as error:
                if is_about_content(error):
                    log.exception("answer given up; its lease settles it")
                    return
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            except Exception:
                log.exception("answer given up; its lease settles it")
                return
            else:
                return

    async def _learn_users(self, batch: list[Answered]) -> None:
        """Store the provider user that sends our messages, usually once a line and run.

        It has a transaction of its own, because it locks the line: a claim locks the line before
        attempts, and a record would lock it after them.
        """
        named = {
            item.claimed.line_id: item.answer.provider_user_id
            for item in batch
            if item.answer.provider_user_id is not None
        }
        for line_id, user_id in named.items():
            if self._users.get(line_id) != user_id:
                async with self._new_uow() as uow:
                    await matching.learn_own_user(uow, line_id=line_id, user_id=user_id)
                self._users[line_id] = user_id

    async def _slow_down(self, batch: list[Answered], *, now: datetime) -> None:
        """Pause all calls for as long as the provider asks; a long pause ends the run."""
        waits = [item.answer for item in batch if item.answer.kind is AnswerKind.LATER]
        if not waits:
            return
        longest = max(waits, key=lambda answer: answer.retry_after_seconds or UNASKED_SECONDS)
        async with self._new_uow() as uow:
            until = await provider_pauses.begin_provider_pause(
                uow,
                self._limiter,
                seconds=longest.retry_after_seconds or UNASKED_SECONDS,
                asked_seconds=max(answer.retry_after_asked or 0.0 for answer in waits) or None,
                now=now,
            )
        if until - now > MOST_WAIT:
            self._pause(until)


def is_about_content(error: BaseException) -> bool:
    """Return True if the database refused the values themselves, so that a retry cannot help."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(state, str) and state[:2] in CONTENT_CLASSES


def _count(batch: list[Answered]) -> None:
    for item in batch:
        instruments.SENDS.labels(str(item.claimed.line_id), item.answer.kind.value).inc()
