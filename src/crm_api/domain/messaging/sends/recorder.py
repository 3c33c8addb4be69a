"""Keep the provider's responses in memory until they are stored, and store them in batches."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError

from crm_api.domain.messaging.sends import matching, provider_pauses, record
from crm_api.domain.messaging.sends.limiter import MOST_WAIT, Limiter
from crm_api.domain.messaging.sends.provider_pauses import OutageWatch
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform import failpoints, instruments
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

RECORD_EVERY = 0.2
"""The longest time, in seconds, that a response waits before its batch is written."""
RECORD_AT = 100
"""A batch with this many responses is written immediately. This limit and ``RECORD_EVERY`` are
small, because an attempt becomes unknown if its response is lost in a crash."""
URGENT = {ResponseKind.ACCOUNT_REFUSED, ResponseKind.LATER}
"""Kinds of responses that are written immediately, because they stop or delay the next requests."""
FINAL = {ResponseKind.ACCEPTED, ResponseKind.REFUSED}
"""Kinds of responses after which this service has to store no waiting time, such as the time of the
next attempt. If a batch contains another kind, the database's time is read before the batch is
written."""
RECORD_RETRY_SECONDS = 1.0
"""How many seconds pass before a batch that could not be stored is tried again."""
MOST_CONTRADICTIONS = 3
"""If another row already has the message id of a response, this service tries to store the response
this many times. After that, it stores the response without the id."""
DATABASE_ERRORS = (DBAPIError, OSError, TimeoutError)
"""Errors that a query raises if the database is unreachable or refuses the values."""
CONTENT_CLASSES = frozenset({"22", "54"})
"""SQLSTATE classes of errors about the values: data exception, program limit exceeded.

Source: PostgreSQL 18 documentation, appendix A, read 2026-11-28.
"""
UNASKED_SECONDS = 1.0
"""How many seconds to pause after a response with status 429 and without ``Retry-After``."""
Write = Callable[..., Awaitable[None]]


class Recorder:
    """Writes the provider's responses of one dispatcher run to the database.

    Args:
        limiter: Pauses the requests if the provider asks for a pause.
        outage: Detects an outage of the provider from the responses.
        end_run: A function that ends the run. It is called if the provider is down.
        pause: A function that ends the run. It is called with the end of the pause if the provider
            asks for a pause that is longer than ``MOST_WAIT``.
    """

    def __init__(
        self,
        *,
        new_uow: UnitOfWorkFactory,
        limiter: Limiter,
        outage: OutageWatch,
        now: Callable[[], datetime],
        end_run: Callable[[], None],
        pause: Callable[[datetime], None],
    ) -> None:
        self._new_uow = new_uow
        self._limiter = limiter
        self._outage = outage
        self._now = now
        self._end_run = end_run
        self._pause = pause
        self._answered: list[Answered] = []
        self._users: dict[UUID, str] = {}
        self._has_answers = asyncio.Event()
        self._is_over = asyncio.Event()

    def put(self, answered: Answered) -> None:
        """Add a response to the batch that is written next.

        The batch is written soon. It is written immediately if it is full, or if the response stops
        or delays the next requests.
        """
        self._answered.append(answered)
        if len(self._answered) >= RECORD_AT or answered.answer.kind in URGENT:
            self._has_answers.set()

    def finish(self) -> None:
        """Make ``run`` end as soon as all responses are stored."""
        self._is_over.set()
        self._has_answers.set()

    async def run(self) -> None:
        """Write responses until ``finish`` was called and all responses are stored."""
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
        """Write a batch of responses, and repeat until it is stored.

        The message id of a response may already belong to another attempt. If that attempt got the
        id by a guess (a match), the match is corrected. If one response cannot be stored because of
        its content, the other responses are stored anyway.
        """
        write = record.record_responses
        contradictions = 0
        while True:
            now = self._now()
            try:
                await self._write(write, batch, now=now)
            except IntegrityError:
                contradictions += 1
                write = record.record_and_correct_matches
                if contradictions > 1:
                    log.warning(
                        "provider returned message ids that other messages already have",
                        responses=len(batch),
                    )
                    await asyncio.sleep(RECORD_RETRY_SECONDS)
                if contradictions >= MOST_CONTRADICTIONS:
                    if len(batch) > 1:
                        await self._record_each(batch)
                        return
                    write = record.record_without_ids
            except DATABASE_ERRORS as error:
                if is_about_content(error):
                    await self._record_unstorable(batch)
                    return
                log.warning(
                    "database did not store provider responses; will retry",
                    responses=len(batch),
                    error=type(error).__name__,
                )
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            except Exception:
                log.exception(
                    "provider responses not stored because of an unexpected error; "
                    "will store each alone",
                    responses=len(batch),
                )
                await self._record_unstorable(batch)
                return
            else:
                return

    async def _write(self, write: Write, batch: list[Answered], *, now: datetime) -> None:
        """Write the provider's responses in one transaction, and act on failures of the provider.

        After a response 429, the requests are paused. A long pause, or an outage of the provider,
        ends this run. For each line, the id of the provider's user that sends the messages is
        stored too.
        """
        async with self._new_uow() as uow:
            # This time decides when the waits after the responses end: the wait of a recipient, the
            # block of a line, the wait for a look-up. If this worker's clock is wrong, these waits
            # could last hours too long. So the database's time is used for them.
            is_final = all(item.answer.kind in FINAL for item in batch)
            await write(uow, batch, now=now if is_final else await uow.database_now())
            await failpoints.reach("record.open")
        await failpoints.reach("record.committed")
        _count(batch)
        await self._slow_down(batch, now=now)
        await self._learn_users(batch)
        if await self._outage.note([item.answer for item in batch]):
            self._end_run()

    async def _record_each(self, batch: list[Answered]) -> None:
        for item in batch:
            await self._record_batch([item])

    async def _record_unstorable(self, batch: list[Answered]) -> None:
        """Write each response alone; if it still cannot be stored, write it without its text.

        If the database also refuses the response without its text, the response is dropped. The
        attempt does not change until its lease ends. Then the attempt becomes ``unknown``, and its
        message is looked up at the provider.
        """
        if len(batch) > 1:
            await self._record_each(batch)
            return
        while True:
            try:
                await self._write(record.record_without_text, batch, now=self._now())
            except DATABASE_ERRORS as error:
                if is_about_content(error):
                    log.exception(
                        "provider response dropped because the database refused it; "
                        "the status of the message will be looked up at the provider"
                    )
                    return
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            except Exception:
                log.exception(
                    "provider response dropped because of an unexpected error; "
                    "the status of the message will be looked up at the provider"
                )
                return
            else:
                return

    async def _learn_users(self, batch: list[Answered]) -> None:
        """Store which user at the provider is the sender of each line's messages.

        This method locks the line in a separate transaction. The transaction that records responses
        has already locked attempts, and a claim locks the line before the attempts. So if the
        recording also locked the line, it could deadlock with a claim.
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
        """Pause all requests if the provider asks for it.

        If the pause is longer than ``MOST_WAIT``, end the run.
        """
        waits = [item.answer for item in batch if item.answer.kind is ResponseKind.LATER]
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
    """Return True if the database refused the values of a statement, so a retry is useless."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(state, str) and state[:2] in CONTENT_CLASSES


def _count(batch: list[Answered]) -> None:
    counts = Counter((item.claimed.line_id, item.answer.kind) for item in batch)
    for (line_id, kind), count in counts.items():
        instruments.SENDS.labels(str(line_id), kind.value).inc(count)
