"""A time limit for SQL statements that read many records."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.measures.errors import TooManyRecordsError

LONGEST_SECONDS = 10.0
"""How long one statement may read records. The general statement timeout of requests is longer."""
_LIMIT = text("""
    SELECT set_config('statement_timeout', :milliseconds, true),
           set_config('work_mem', '16MB', true), set_config('enable_memoize', 'off', true),
           set_config('parallel_setup_cost', '50000', true)
""")
_UNORDERED = text("SELECT set_config('enable_indexscan', 'off', true)")
_CANCELED = "57014"


@asynccontextmanager
async def limit_time(
    session: AsyncSession, *, seconds: float, is_unordered: bool = False
) -> AsyncIterator[None]:
    """Limit the time of each statement in the block, and change settings of PostgreSQL.

    The limit and the settings last until the end of the transaction.

    - A sort or grouping may use 16 MB, which is enough for 200,000 values.
    - PostgreSQL does not cache looked-up rows (memoize). If a statement looks up rows in the
      order of ids, this cache makes the statement slower: it takes a fifth of the time.
    - Only statements that read millions of rows start parallel workers, because the start of the
      workers takes 13 ms of CPU.

    Args:
        is_unordered: True makes PostgreSQL use bitmap scans instead of index scans.

    Raises:
        TooManyRecordsError: A statement took longer than ``seconds``. The transaction cannot be
            used any more.
    """
    await session.execute(_LIMIT, {"milliseconds": str(max(1, round(seconds * 1000)))})
    if is_unordered:
        await session.execute(_UNORDERED)
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _CANCELED:
            raise TooManyRecordsError from error
        raise
