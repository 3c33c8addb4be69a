"""Store missing and outdated messages and calls, with the same effects as webhook events."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError

from crm_api.domain.inbound.reconciliation import run_progress
from crm_api.domain.inbound.reconciliation.batch import Batch, ListedItem, id_of
from crm_api.domain.inbound.reconciliation.comparison import AbsentItem, CallToRead, compare_batch
from crm_api.domain.inbound.reconciliation.drift import DriftExample, DriftKind, count_difference
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.pace import RequestPace
from crm_api.domain.inbound.webhook_events import event_outcomes
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_events.event_lines import apply_decision_on_unknown_line
from crm_api.domain.inbound.webhook_events.plain_messages import apply_plain_messages
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.messaging.models.timeline import ActivityKind
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError
from crm_api.domain.provider.openphone.json_values import instant, mapping, text
from crm_api.domain.provider.openphone.listing import CallExtras, Listing
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

log = structlog.get_logger()

TOGETHER = 20
"""Number of items per transaction. It is small, so that the locks are soon released."""
PLAIN_TOGETHER = 500
"""Number of plain messages (see ``plain_messages.py``) per transaction."""
IN_FLIGHT = timedelta(minutes=2)
"""Minimum age of a change that counts as drift. The webhook about a newer change may still arrive,
so a newer change is stored but not counted."""
LONGEST_REASON = 300
COMMIT_SOON = sql("SET LOCAL synchronous_commit = off")
"""For a transaction that stores only the progress of a run. With this setting, the commit does not
wait for the disk."""


class ExtrasReader:
    """Fetches the recordings, voicemails, summaries and transcripts of the calls of one batch.

    Attributes:
        missed: The first part of a call that could not be fetched, because the provider was
            unavailable. The list is empty if no request failed. It has at most one item, because no
            further parts of the batch are fetched after a failure. The next run can fetch them.
    """

    def __init__(self, *, lists: Listing, pace: RequestPace, now: Callable[[], datetime]) -> None:
        self._lists = lists
        self._pace = pace
        self._now = now
        self._is_unavailable = False
        self.missed: list[DriftExample] = []

    async def fetch(self, asked: CallToRead) -> list[ListedItem]:
        """Fetch the missing parts of a call, such as its recording or voicemail.

        Returns:
            A list with one item: the call to store. The list is empty if there is nothing new to
            store.
        """
        call_id = id_of(asked.call.item) or ""
        extras = await self._extras(call_id, asked.extras)
        known = asked.known
        has_extras = any((extras.recordings, extras.voicemail, extras.summary, extras.transcript))
        if not asked.is_behind and not has_extras:
            return []
        item = mapping(asked.call.item)
        at = instant(item.get("createdAt")) or self._now()
        return [
            ListedItem(
                id=call_id,
                kind=ActivityKind.CALL.value,
                direction=text(item.get("direction")),
                at=at,
                changed_at=instant(item.get("completedAt")) or at,
                events=asked.call.events(extras),
                was=None if known is None else known.status,
                now=text(item.get("status")),
            )
        ]

    async def _extras(self, call_id: str, names: frozenset[str]) -> CallExtras:
        lists = self._lists
        found: dict[str, Any] = {}
        for name, read in (
            ("recordings", lists.recordings),
            ("voicemail", lists.voicemail),
            ("summary", lists.summary),
            ("transcript", lists.transcript),
        ):
            if name not in names or self._is_unavailable:
                continue
            await self._pace.wait_for_request()
            try:
                found[name] = await read(call_id)
            except OpenPhoneBusyError as error:
                # The provider is unavailable. Further requests would fail too, and each request
                # would use all its retries.
                self._is_unavailable = True
                self.missed.append(DriftExample(id=call_id, kind=name, why=error.detail))
        return CallExtras(**found)


class Filler:
    """Compares batches of the provider's messages and calls with those in the database.

    It adds what the database lacks, and saves the progress of the comparison.
    """

    def __init__(
        self,
        run: ReconciliationRun,
        *,
        new_uow: UnitOfWorkFactory,
        lists: Listing,
        pace: RequestPace,
        apply_settings: ApplySettings,
        now: Callable[[], datetime],
        receipt: Callable[[UnitOfWork], Awaitable[datetime]],
    ) -> None:
        self._run = run
        self._new_uow = new_uow
        self._lists = lists
        self._pace = pace
        self._apply_settings = apply_settings
        self._now = now
        self._receipt = receipt

    async def write(self, batch: Batch, position: dict[str, Any]) -> None:
        """Compare a batch with the stored messages and calls, and store what is missing here.

        Then save ``position`` as the progress of the run.

        Raises:
            RunLostError: Another worker has taken over the run; ``position`` is unsaved.
        """
        run = self._run
        async with self._new_uow() as uow:
            found = await compare_batch(
                uow, batch, since=run.since, until=run.until, now=self._now()
            )
            if not found:
                # This transaction stores only the progress of the run. If a power cut loses the
                # progress, the batch is read again.
                await uow.session.execute(COMMIT_SOON)
                await self._move_on(uow, batch, position, others=0)
                return
        reader = ExtrasReader(lists=self._lists, pace=self._pace, now=self._now)
        items = [*found.messages]
        for call in found.calls:
            items += await reader.fetch(call)
        items.sort(key=lambda item: (item.at, item.id))
        others = len(items) + len(found.unreadable)
        items = await self._apply_plain(items)
        collided: list[ListedItem] = []
        for chunk in _chunks(items, TOGETHER):
            collided += await self._apply(chunk)
        for item in collided:
            await self._apply([item], is_last_try=True)
        async with self._new_uow() as uow:
            for item_id, why in found.unreadable:
                self._refuse(DriftExample(id=item_id, kind="unreadable", why=why))
            for row in found.absent:
                self._note_absent(row)
            for example in reader.missed:
                count_difference(run.drift, DriftKind.UNKNOWN_HERE, example)
            await self._move_on(uow, batch, position, others=others)

    async def _move_on(
        self, uow: UnitOfWork, batch: Batch, position: dict[str, Any], *, others: int
    ) -> None:
        run = self._run
        for _ in range(batch.nameless):
            self._refuse(DriftExample(id=None, kind="unreadable", why="The item has no id."))
        for why in batch.unread:
            count_difference(
                run.drift, DriftKind.UNKNOWN_HERE, DriftExample(id=None, kind="thread", why=why)
            )
        run.position = position
        run.failures = 0
        run.pages_done += batch.pages
        run.items_seen += len(batch)
        run.already_known += len(batch) - others - batch.nameless
        await failpoints.reach("reconcile.open")
        await run_progress.store_progress(
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

    async def _apply_plain(self, items: Sequence[ListedItem]) -> list[ListedItem]:
        """Store the plain messages among the items; return the other items, in the same order.

        An item is a message or call. A plain message is an old message that must only be stored: it
        causes no automatic reply and no change of consent (see ``apply_plain_messages``).
        """
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
                await run_progress.store_progress(uow, self._run, now=self._now(), **self._tally())
            stored |= done
            await failpoints.reach("reconcile.applied")
        return [item for item in items if item.id not in stored]

    async def _store_together(self, uow: UnitOfWork, items: Sequence[ListedItem]) -> set[str]:
        """Store the plain messages among the items, all together; return the ids of these messages.

        A plain message is an old message that must only be stored (see ``apply_plain_messages``).
        If the database refuses one message, no message is stored, and the result is empty. The
        caller then stores each message alone.
        """
        facts = [item.events[0].message for item in items]
        try:
            async with uow.session.begin_nested():
                texts = [one for one in facts if one is not None]
                now = await self._receipt(uow)
                return await apply_plain_messages(
                    uow, texts, now=now, apply_settings=self._apply_settings
                )
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            log.warning(
                "database refused a batch of messages from the provider's list, so each is stored "
                "alone",
                sqlstate=event_outcomes.sql_state(error),
            )
            return set()

    async def _apply(
        self, items: Sequence[ListedItem], *, is_last_try: bool = False
    ) -> list[ListedItem]:
        """Apply messages and calls in one transaction; return those that must be tried again.

        Each item (message or call) has its own savepoint. An item must be tried again if it
        conflicts with another transaction that uses the same rows.

        Args:
            is_last_try: If True, an item that conflicts is counted as an error and not tried again.
                The result is then empty.
        """
        collided: list[ListedItem] = []
        async with self._new_uow() as uow:
            for item in items:
                try:
                    why = await self._apply_one(uow, item)
                except _CollidedError:
                    why = "The item conflicted with another transaction." if is_last_try else None
                    if not is_last_try:
                        collided.append(item)
                        continue
                self._count(item, why)
            await failpoints.reach("reconcile.apply_open")
            await run_progress.store_progress(uow, self._run, now=self._now(), **self._tally())
        await failpoints.reach("reconcile.applied")
        return collided

    async def _apply_one(self, uow: UnitOfWork, item: ListedItem) -> str | None:
        """Apply one message or call; return why it could not be stored, or None on success."""
        try:
            async with uow.session.begin_nested():
                now = await self._receipt(uow)
                for event in item.events:
                    await webhooks.apply_event(
                        uow, event, now=now, apply_settings=self._apply_settings
                    )
        except CrmError as error:
            if isinstance(error, webhooks.LINE_ERRORS):
                await self._apply_decisions(uow, item)
            return error.detail
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            state = event_outcomes.sql_state(error)
            if state in event_outcomes.COLLISIONS:
                raise _CollidedError from error
            log.exception(
                "message or call from the provider's list not stored",
                item_id=item.id,
                kind=item.kind,
            )
            return f"The database refused the item (SQLSTATE {state})."
        except Exception as error:  # one item's error must not stop the others
            log.exception(
                "message or call from the provider's list not stored",
                item_id=item.id,
                kind=item.kind,
            )
            return f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        return None

    async def _apply_decisions(self, uow: UnitOfWork, item: ListedItem) -> None:
        """Apply the opt-out or hold of a message on an unknown phone line.

        The message comes from the provider's list. A hold stops campaign messages to the person
        until a user decides.
        """
        now = await self._receipt(uow)
        for event in item.events:
            await apply_decision_on_unknown_line(
                uow, event, now=now, apply_settings=self._apply_settings
            )

    def _count(self, item: ListedItem, why: str | None) -> None:
        run = self._run
        example = DriftExample(
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

    def _note_drift(self, kind: DriftKind, item: ListedItem, example: DriftExample) -> None:
        """Count a difference: a message or call that was missing or outdated here.

        These items are not counted:

        - Items of a run whose time span has no start. Such a run imports the history, for which no
          webhooks were sent.
        - Items that changed just now, because their webhooks may still arrive.
        """
        if self._run.since is not None and item.changed_at <= self._now() - IN_FLIGHT:
            count_difference(self._run.drift, kind, example)

    def _refuse(self, example: DriftExample) -> None:
        self._run.errors += 1
        count_difference(self._run.drift, DriftKind.UNKNOWN_HERE, example)

    def _note_absent(self, item: AbsentItem) -> None:
        example = DriftExample(
            id=item.openphone_id,
            kind=item.kind,
            direction=item.direction,
            at=item.occurred_at,
            was=item.status,
        )
        count_difference(self._run.drift, DriftKind.UNKNOWN_THERE, example)


class _CollidedError(Exception):
    """A message or call conflicted with another transaction, so storing it is tried again."""


def _chunks(items: Sequence[ListedItem], size: int) -> Iterator[Sequence[ListedItem]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
