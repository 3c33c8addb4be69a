"""Read pages of the provider's lists within the rate limit, and check that no page repeats.

The items that were read are collected in a batch. When the batch is written, the progress of the
run is stored too.
"""

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
"""The reading fails after this many consecutive empty pages that have a token for a next page."""

MOST_PAGES = 20_000
"""Maximum number of pages of one list (about a million messages). A longer list counts as broken.
"""


class PageGuard:
    """Checks that the pages of one list do not repeat.

    It remembers the items of the last ``REMEMBERED_PAGES`` pages. If the provider repeats a page,
    it may leave out another page.
    """

    def __init__(self, *, pages: int = 0) -> None:
        """Create a guard that checks the pages of one list.

        Args:
            pages: The number of pages of this list that the run has already read.
        """
        self.pages = pages
        self._tokens: set[str] = set()
        self._ids: set[str] = set()
        self._remembered: deque[Sequence[str]] = deque()
        self._empty = 0

    def check(self, page: ListPage) -> None:
        """Raise an error if this page shows that the provider's list is broken.

        Call this method for every page of the list, in order.

        Raises:
            OpenPhoneListError: All items of the page were on earlier pages, or a page token was
                returned again. This error is also raised for a list with too many pages
                (``MOST_PAGES``), or too many empty pages in a row (``MOST_EMPTY``).
        """
        self.pages += 1
        ids = [item_id for item in page.items if (item_id := id_of(item)) is not None]
        token = page.next_token
        if ids and self._ids.issuperset(ids):
            raise OpenPhoneListError(
                "OpenPhone returned the same page of a list twice, so the list could not be read "
                "completely. Try again later."
            )
        self._empty = 0 if page.items else self._empty + 1
        if token is None:
            return
        if self._empty >= MOST_EMPTY:
            raise OpenPhoneListError(
                f"OpenPhone returned {MOST_EMPTY} empty pages in a row, so the list could not be "
                "read completely. Try again later."
            )
        if token in self._tokens:
            raise OpenPhoneListError
        if self.pages >= MOST_PAGES:
            raise OpenPhoneListError(
                f"OpenPhone's list has more than {MOST_PAGES:,} pages, so it was not read "
                "completely."
            )
        self._tokens.add(token)
        self._ids.update(ids)
        self._remembered.append(ids)
        if len(self._remembered) > REMEMBERED_PAGES:
            self._ids.difference_update(self._remembered.popleft())


WRITE_ITEMS = 2_000
WRITE_PAGES = 200
WRITE_SECONDS = 10.0
WRITE_CALLS = 25
"""Number of phone calls after which a batch is written. Fetching the parts of so many calls takes
much less time than the length of a lease."""

Position = dict[str, Any]
"""Progress of a run, as JSON; the module ``walking`` describes its members."""


@dataclass(kw_only=True)
class Reading:
    """The state of a reconciliation run while one job works on it.

    Attributes:
        now: Returns the current time.
        is_over: Returns whether the time of the job is up. The next job then continues.
        batch: The items that were read but not written yet.
        written_at: When a batch was last written, by the monotonic clock.
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
        """Read one page with the function ``read``, as soon as the rate limit allows it."""
        await self.pace.wait_for_request()
        page = await read()
        self.batch.pages += 1
        return page

    @property
    def is_due(self) -> bool:
        """True if the batch is large enough or old enough to be written."""
        return (
            len(self.batch) >= WRITE_ITEMS
            or self.batch.pages >= WRITE_PAGES
            or len(self.batch.calls) >= WRITE_CALLS
            or time.monotonic() - self.written_at >= WRITE_SECONDS
        )

    async def write(self, position: Position) -> None:
        """Write the items that were read since the last write, and the progress of the run.

        The items are compared with the database. Items that the database lacks are stored.

        Args:
            position: The progress of the run.
        """
        batch, self.batch = self.batch, Batch()
        await self.filler.write(batch, {**position})
        self.written_at = time.monotonic()


def read_time(written: str | None) -> datetime | None:
    """Parse a time from the stored progress of a run; None if no time is stored."""
    return None if written is None else datetime.fromisoformat(written)
