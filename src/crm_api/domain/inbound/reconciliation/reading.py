"""Shared by both readers of the provider: rate limit, pages, and when to store progress."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_api.domain.inbound.reconciliation.batch import Batch, id_of
from crm_api.domain.inbound.reconciliation.filling import Filler
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.pace import RequestPace
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.errors import OpenPhoneListError
from crm_api.domain.provider.openphone.listing import ListPage

REMEMBERED_PAGES = 200

MOST_EMPTY = 3
"""Empty pages in a row, each with a token for the next."""

MOST_PAGES = 20_000
"""Of one list: a million messages. A longer one is taken to be broken."""


class PageGuard:
    """Checks the pages of one list as they come; remembers the last ``REMEMBERED_PAGES``.

    A page whose items were all seen before replaced another page. The items of that other page are
    unknown, so the list is not complete.
    """

    def __init__(self, *, pages: int = 0) -> None:
        """Create a guard.

        Args:
            pages: Pages of the list that were read before, when a reading is resumed.
        """
        self.pages = pages
        self._tokens: set[str] = set()
        self._ids: set[str] = set()
        self._remembered: deque[Sequence[str]] = deque()
        self._empty = 0

    def check(self, page: ListPage) -> None:
        """Check a page and remember it.

        Raises:
            OpenPhoneListError: The list repeats itself or does not end.
        """
        self.pages += 1
        ids = [item_id for item in page.items if (item_id := id_of(item)) is not None]
        token = page.next_token
        if ids and self._ids.issuperset(ids):
            raise OpenPhoneListError("The list gave a page again instead of the next one.")
        self._empty = 0 if page.items else self._empty + 1
        if token is None:
            return
        if self._empty >= MOST_EMPTY:
            raise OpenPhoneListError(f"The list gave {MOST_EMPTY} empty pages in a row.")
        if token in self._tokens:
            raise OpenPhoneListError("The list gave the same page token again.")
        if self.pages >= MOST_PAGES:
            raise OpenPhoneListError(f"The list has more than {MOST_PAGES:,} pages.")
        self._tokens.add(token)
        self._ids.update(ids)
        self._remembered.append(ids)
        if len(self._remembered) > REMEMBERED_PAGES:
            self._ids.difference_update(self._remembered.popleft())


WRITE_ITEMS = 2_000
WRITE_PAGES = 200
WRITE_SECONDS = 10.0
WRITE_CALLS = 25
"""Asking for the extras of so many calls takes well under a lease."""

Position = dict[str, Any]
"""Progress of a run, as JSON; ``walking`` describes its members."""


@dataclass(kw_only=True)
class Reading:
    """One slice of a run.

    Attributes:
        now: The clock.
        is_over: Asked after each page. When it returns True, the rest waits for the next slice.
    """

    run: ReconciliationRun
    provider: OpenPhoneClient
    pace: RequestPace
    filler: Filler
    now: Callable[[], datetime]
    is_over: Callable[[], bool]
    batch: Batch = field(default_factory=Batch)
    written_at: float = field(default_factory=time.monotonic)

    async def page(self, read: Callable[[], Awaitable[ListPage]]) -> ListPage:
        """Read a page as soon as the rate limit allows it."""
        await self.pace.wait_for_request()
        page = await read()
        self.batch.pages += 1
        return page

    @property
    def is_due(self) -> bool:
        """True when enough was read to compare and store it."""
        return (
            len(self.batch) >= WRITE_ITEMS
            or self.batch.pages >= WRITE_PAGES
            or len(self.batch.calls) >= WRITE_CALLS
            or time.monotonic() - self.written_at >= WRITE_SECONDS
        )

    async def write(self, position: Position) -> None:
        """Compare what was read, fill the gaps, and store the new position."""
        batch, self.batch = self.batch, Batch()
        await self.filler.write(batch, {**position})
        self.written_at = time.monotonic()


def read_time(written: str | None) -> datetime | None:
    """Parse a time of a position; None stays None."""
    return None if written is None else datetime.fromisoformat(written)
