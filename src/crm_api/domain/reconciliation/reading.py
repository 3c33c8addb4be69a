"""What both readings of the provider share: turns, pages, and when to write down what was read."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.openphone.listing import ListPage
from crm_api.domain.reconciliation.batch import Batch
from crm_api.domain.reconciliation.filling import Filler
from crm_api.domain.reconciliation.models import ReconciliationRun
from crm_api.domain.reconciliation.turns import Turns

WRITE_ITEMS = 2_000
WRITE_PAGES = 200
WRITE_SECONDS = 10.0
WRITE_CALLS = 25
"""What belongs to so many calls is asked for in well under a lease."""

Position = dict[str, Any]
"""Where a run stands, as JSON; its members are told in ``walking``."""


@dataclass(kw_only=True)
class Reading:
    """One slice of a run.

    Attributes:
        now: The clock.
        is_over: Asked after each page; when true, what is left waits for the next slice.
    """

    run: ReconciliationRun
    provider: OpenPhoneClient
    turns: Turns
    filler: Filler
    now: Callable[[], datetime]
    is_over: Callable[[], bool]
    batch: Batch = field(default_factory=Batch)
    written_at: float = field(default_factory=time.monotonic)

    async def page(self, read: Callable[[], Awaitable[ListPage]]) -> ListPage:
        """Read a page when its turn has come."""
        await self.turns.take()
        page = await read()
        self.batch.pages += 1
        return page

    @property
    def is_due(self) -> bool:
        """True when enough was read to be compared and written down."""
        return (
            len(self.batch) >= WRITE_ITEMS
            or self.batch.pages >= WRITE_PAGES
            or len(self.batch.calls) >= WRITE_CALLS
            or time.monotonic() - self.written_at >= WRITE_SECONDS
        )

    async def write(self, position: Position) -> None:
        """Compare what was read, fill the gaps, and move the run on."""
        batch, self.batch = self.batch, Batch()
        await self.filler.write(batch, {**position})
        self.written_at = time.monotonic()


def read_time(written: str | None) -> datetime | None:
    """Read a time of a position."""
    return None if written is None else datetime.fromisoformat(written)
