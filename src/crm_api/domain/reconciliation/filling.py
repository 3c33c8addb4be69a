"""Fills the gaps that a comparison found, through the one way in that webhooks take too."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from crm_api import failpoints
from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.activity.models import ActivityKind
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.listing import Listing
from crm_api.domain.reconciliation import progress, queries
from crm_api.domain.reconciliation.asking import Asker
from crm_api.domain.reconciliation.batch import Batch, Item
from crm_api.domain.reconciliation.comparing import compare
from crm_api.domain.reconciliation.drift import DriftKind, Example, note
from crm_api.domain.reconciliation.models import ReconciliationRun
from crm_api.domain.reconciliation.turns import Turns
from crm_api.domain.webhooks import retrying
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.plain import apply_plain
from crm_api.domain.webhooks.reception import Reception

log = structlog.get_logger()

TOGETHER = 20
"""Items a transaction: few enough that what they lock is soon free again."""
PLAIN_TOGETHER = 500
"""The same for what asks nothing before it is written: one statement for all."""
IN_FLIGHT = timedelta(minutes=2)
"""What is younger may be on its way by webhook: taken over all the same, but no drift."""
LONGEST_REASON = 300


class Filler:
    """Compares and fills batch by batch, and writes down how far the run is."""

    def __init__(
        self,
        run: ReconciliationRun,
        *,
        new_uow: UnitOfWorkFactory,
        lists: Listing,
        turns: Turns,
        reception: Reception,
        now: Callable[[], datetime],
    ) -> None:
        self._run = run
        self._new_uow = new_uow
        self._lists = lists
        self._turns = turns
        self._reception = reception
        self._now = now

    async def write(self, batch: Batch, position: dict[str, Any]) -> None:
        """Compare a batch, take over what is missing, and move the run on to ``position``.

        Raises:
            RunLostError: Another worker goes on with the run; nothing more was written.
        """
        run = self._run
        async with self._new_uow() as uow:
            found = await compare(uow, batch, since=run.since, until=run.until, now=self._now())
            if not found:
                # Only how far the run is: a power cut may take it back, and it is read again.
                await queries.commit_soon(uow.session)
                await self._move_on(uow, batch, position, others=0)
                return
        asker = Asker(lists=self._lists, turns=self._turns, now=self._now)
        items = [*found.messages]
        for call in found.calls:
            items += await asker.ask(call)
        items.sort(key=lambda item: (item.at, item.id))
        others = len(items) + len(found.unreadable)
        items = await self._apply_plain(items)
        collided: list[Item] = []
        for chunk in _chunks(items, TOGETHER):
            collided += await self._apply(chunk)
        for item in collided:
            await self._apply([item], is_last_try=True)
        async with self._new_uow() as uow:
            for item_id, why in found.unreadable:
                self._refuse(Example(id=item_id, kind="unreadable", why=why))
            for row in found.absent:
                self._note_absent(row)
            for example in asker.missed:
                note(run.drift, DriftKind.UNKNOWN_HERE, example)
            await self._move_on(uow, batch, position, others=others)

    async def _move_on(
        self, uow: UnitOfWork, batch: Batch, position: dict[str, Any], *, others: int
    ) -> None:
        run = self._run
        for _ in range(batch.nameless):
            self._refuse(Example(id=None, kind="unreadable", why="It has no id."))
        for why in batch.unread:
            note(run.drift, DriftKind.UNKNOWN_HERE, Example(id=None, kind="thread", why=why))
        run.position = position
        run.failures = 0
        run.pages_done += batch.pages
        run.items_seen += len(batch)
        run.already_known += len(batch) - others - batch.nameless
        await failpoints.reach("reconcile.open")
        await progress.keep(
            uow,
            run,
            now=self._now(),
            position=position,
            failures=0,
            last_error=None,
            pages_done=run.pages_done,
            items_seen=run.items_seen,
            already_known=run.already_known,
            **self._tally(),
        )

    def _tally(self) -> dict[str, Any]:
        run = self._run
        return {
            "created": run.created,
            "updated": run.updated,
            "errors": run.errors,
            "drift": run.drift,
        }

    async def _apply_plain(self, items: Sequence[Item]) -> list[Item]:
        """Apply what leaves nothing but a row, many at once; the others come back, in order."""
        texts = [
            item
            for item in items
            if not item.is_known and item.kind == ActivityKind.MESSAGE and len(item.events) == 1
        ]
        stored: set[str] = set()
        for chunk in _chunks(texts, PLAIN_TOGETHER):
            async with self._new_uow() as uow:
                done = await self._store_together(uow, chunk)
                if not done:
                    continue
                for item in chunk:
                    if item.id in done:
                        self._count(item, None)
                await failpoints.reach("reconcile.apply_open")
                await progress.keep(uow, self._run, now=self._now(), **self._tally())
            stored |= done
            await failpoints.reach("reconcile.applied")
        return [item for item in items if item.id not in stored]

    async def _store_together(self, uow: UnitOfWork, items: Sequence[Item]) -> set[str]:
        """Store what is plain; when the database refuses one of them, none, and each is tried."""
        facts = [item.events[0].message for item in items]
        try:
            async with uow.session.begin_nested():
                texts = [one for one in facts if one is not None]
                return await apply_plain(uow, texts, now=self._now(), reception=self._reception)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            log.warning("texts not stored together", state=retrying.sql_state(error))
            return set()

    async def _apply(self, items: Sequence[Item], *, is_last_try: bool = False) -> list[Item]:
        """Apply items in one transaction, each in a savepoint; those that collided come back."""
        collided: list[Item] = []
        async with self._new_uow() as uow:
            for item in items:
                try:
                    why = await self._apply_one(uow, item)
                except _CollidedError:
                    why = None if not is_last_try else "Another transaction was in the way."
                    if not is_last_try:
                        collided.append(item)
                        continue
                self._count(item, why)
            await failpoints.reach("reconcile.apply_open")
            await progress.keep(uow, self._run, now=self._now(), **self._tally())
        await failpoints.reach("reconcile.applied")
        return collided

    async def _apply_one(self, uow: UnitOfWork, item: Item) -> str | None:
        """Apply one item; the reason when it could not be taken over."""
        try:
            async with uow.session.begin_nested():
                for event in item.events:
                    await webhooks.apply_event(
                        uow, event, now=self._now(), reception=self._reception
                    )
        except CrmError as error:
            return error.detail
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            state = retrying.sql_state(error)
            if state in retrying.COLLISIONS:
                raise _CollidedError from error
            log.exception("listed item not applied", id=item.id, kind=item.kind)
            return f"The database refused it ({state})."
        except Exception as error:  # one item's fault must not stop its neighbours
            log.exception("listed item not applied", id=item.id, kind=item.kind)
            return f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        return None

    def _count(self, item: Item, why: str | None) -> None:
        run = self._run
        example = Example(
            id=item.id,
            kind=item.kind,
            direction=item.direction,
            at=item.at,
            was=item.was,
            now=item.now,
            why=why,
        )
        if why is not None:
            self._refuse(example)
        elif item.is_known:
            run.updated += 1
            self._note_drift(DriftKind.CORRECTED, item, example)
        else:
            run.created += 1
            self._note_drift(DriftKind.CREATED, item, example)

    def _note_drift(self, kind: DriftKind, item: Item, example: Example) -> None:
        """Note what no webhook told of; an import finds nothing else, and that is no drift."""
        if self._run.since is not None and item.changed_at <= self._now() - IN_FLIGHT:
            note(self._run.drift, kind, example)

    def _refuse(self, example: Example) -> None:
        self._run.errors += 1
        note(self._run.drift, DriftKind.UNKNOWN_HERE, example)

    def _note_absent(self, row: Row[Any]) -> None:
        example = Example(
            id=row.openphone_id,
            kind=row.kind,
            direction=row.direction,
            at=row.occurred_at,
            was=row.status,
        )
        note(self._run.drift, DriftKind.UNKNOWN_THERE, example)


class _CollidedError(Exception):
    """Another transaction was in the way; the next try will do."""


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
