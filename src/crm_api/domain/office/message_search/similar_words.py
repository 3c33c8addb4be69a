"""Find messages with words similar to those of a search, within a time limit."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.office.message_search.selection import MessageSelection, Position
from crm_api.platform import clock
from crm_api.platform.ids import smallest_id_at

WINDOW = 3_000
"""The number of the newest messages that step 2 of ``with_similar_words`` compares with the search
words."""
SPANS = (timedelta(days=45), timedelta(days=150), timedelta(days=450), None)
"""The steps in which the index searches older messages: first the last 45 days, then back to 150
days, then back to 450 days. None is the last step: all older messages."""
FIRST_SECONDS, SECONDS = 0.04, 0.1
"""The time limits for searches with the index, in seconds: ``FIRST_SECONDS`` for the search of all
messages in one step, ``SECONDS`` for all steps of ``SPANS`` together.

The index is fast for a word that is similar only to rare words. A word that is similar to a
frequent word must be compared with each message that contains the frequent word, which is slow.
"""
_CANCELLED = "57014"

# The statement must be planned for the actual values. A generic plan would read all ids of the
# period, instead of using the index of words.
SET_SIMILARITY = text("""
    SELECT set_config('pg_trgm.word_similarity_threshold', CAST(:least AS text), true),
           set_config('plan_cache_mode', 'force_custom_plan', true),
           current_setting('statement_timeout') AS usual
""")
SET_TIME = text("""
    SELECT set_config('statement_timeout', CAST(:milliseconds AS text), true)
""")


async def with_similar_words(
    session: AsyncSession, selection: MessageSelection, *, after: Position | None, limit: int
) -> list[Activity]:
    """Return messages with words similar to the terms, newest first.

    The search has up to three stages:

    - Search the index for at most 0.04 s (``FIRST_SECONDS``).
    - If that search did not end in time, compare the next 3,000 messages (``WINDOW``).
    - If these messages do not fill the page, search the index again, one period (``SPANS``) after
      the other. This search stops after 0.1 s (``SECONDS``), so matches may be missing.
    """
    usual = (
        (await session.execute(SET_SIMILARITY, {"least": str(selection.similarity)})).one().usual
    )
    every = selection.by_similar_words(after, limit=limit, ids=(None, None))
    few = await _read_for(session, every, seconds=FIRST_SECONDS, usual=usual)
    if few is not None:
        return few
    near = await session.scalars(selection.similar_in_order(after, size=WINDOW).limit(limit))
    found = list(near)
    if len(found) == limit:
        return found
    until = time.monotonic() + SECONDS
    high: UUID | None = None
    ahead = clock.ahead()
    begin = clock.wall_now() if after is None else min(clock.wall_now(), after[0] - ahead)
    for span in SPANS:
        since = None if span is None else begin - span
        low = None if since is None else smallest_id_at(since)
        similar = selection.by_similar_words(after, limit=limit, ids=(low, high))
        left = until - time.monotonic()
        more = await _read_for(session, similar, seconds=left, usual=usual)
        if more is None:
            break
        found = _merged(found, more)[:limit]
        if since is not None and _is_complete(found, limit=limit, since=since + ahead):
            break
        high = low
    return found


async def _read_for(
    session: AsyncSession, statement: Select[Activity], *, seconds: float, usual: str
) -> list[Activity] | None:
    """Run a statement with a time limit, and return its messages; None if it did not end in time.

    Args:
        session: The database session.
        statement: The statement.
        seconds: The time limit of the statement.
        usual: The usual time limit, which is set again for later statements. It is a value of the
            PostgreSQL setting ``statement_timeout``.
    """
    milliseconds = round(seconds * 1000)
    if milliseconds <= 0:
        return None
    try:
        async with session.begin_nested():
            await session.execute(SET_TIME, {"milliseconds": f"{milliseconds}"})
            found = list(await session.scalars(statement))
            await session.execute(SET_TIME, {"milliseconds": usual})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELLED:
            raise
        return None
    return found


def _merged(some: Sequence[Activity], others: Sequence[Activity]) -> list[Activity]:
    """Return the messages of both lists, each message once, newest first."""
    known = {one.id: one for one in (*some, *others)}
    return sorted(known.values(), key=lambda one: (one.occurred_at, one.id), reverse=True)


def _is_complete(found: Sequence[Activity], *, limit: int, since: datetime) -> bool:
    return len(found) == limit and found[-1].occurred_at >= since
