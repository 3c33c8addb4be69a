"""Check our webhooks at the provider, and the provider's log of failed deliveries.

If the provider has stopped retrying a delivery and its event is not stored here, the check requests
the delivery again, at most ``MOST_TIMES`` times. It does not touch deliveries that the provider
still retries.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select, text

from crm_api.domain.inbound.webhook_health.models import WebhookRedelivery
from crm_api.domain.inbound.webhook_health.service import CheckResult
from crm_api.domain.inbound.webhook_setup.comparing import Registration
from crm_api.domain.inbound.webhook_setup.registering import Registrar
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
)
from crm_api.domain.provider.openphone.facts import HookDelivery
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform.database import UnitOfWork

LOOKS_BACK = timedelta(hours=30)
"""How far back a check reads the provider's log of deliveries. The provider stops retrying a
delivery 27 h 35 min after its first try, and checks are an hour apart."""
LATE = timedelta(minutes=10)
"""A delivery that is still retried is reported only if it is older than this: it has then failed at
least three times. A younger delivery may have failed once, because this service restarted."""
MOST_REQUESTED = 200
"""Maximum number of redeliveries that one check requests; the next check continues."""
WORKING_SECONDS = 30.0
"""Maximum time for requesting redeliveries in one check; well below the job's time limit."""
MOST_READ = 20
"""If an entry of the provider's log has no event id, the check fetches the delivery to read the id.
It fetches at most this many deliveries."""
MOST_TIMES = 3
"""Maximum number of requests to repeat one delivery."""
REQUEST_AGAIN_AFTER = timedelta(hours=1)
_STILL_RETRIED = ("sending", "pending")


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """A delivery that the provider no longer retries, and the webhook whose log lists it."""

    webhook_id: str
    delivery: HookDelivery


@dataclass(kw_only=True)
class DeliveryLog:
    """Unsuccessful deliveries in the provider's logs, and what the check did about them.

    Attributes:
        given_up: The deliveries that the provider no longer retries.
        waiting: The number of deliveries that are still retried and are older than ``LATE``.
        is_complete: Whether every log could be read to its end.
        held: The number of deliveries in ``given_up`` whose event is already stored here.
        requested: The number of deliveries that this check requested again.
        under_way: The number of deliveries that an earlier check requested less than an hour ago,
            or that the next check will request.
        lost: The number of deliveries that the provider refused, or that were requested
            ``MOST_TIMES`` times without success.
    """

    given_up: list[GivenUp]
    waiting: int = 0
    is_complete: bool = True
    held: int = 0
    requested: int = 0
    under_way: int = 0
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class ProviderCheck:
    """Compares our webhooks and stored events with the provider's records, for one check.

    Attributes:
        wait: Waits until one request to the provider may begin.
    """

    registrar: Registrar
    wait: Callable[[], Awaitable[object]]
    now: datetime

    async def examine(self) -> CheckResult:
        """Check our webhooks, read their delivery logs, and request missing events again.

        Raises:
            OpenPhoneBusyError: The provider is unavailable, so there is no result.
            OpenPhoneListError: The provider's list of webhooks repeats itself or does not end.
            UnreadableEventError: A webhook in the list has no id or no URL.
        """
        await self.wait()
        await self.wait()
        try:
            found = await self.registrar.look()
        except OpenPhoneRefusedError as error:
            sentence = f"The provider refused to list its webhooks: {error.detail}"
            return CheckResult(leg="refused", failure=sentence)
        log = await self._read_logs(found)
        await self._request_again(await self._find_missing(log), log)
        evidence = {
            "webhooks": [one.webhook.webhook_id for one in found.ours],
            "foreign": len(found.foreign),
            "log_is_told": log.is_complete,
            "given_up": len(log.given_up),
            "held_all_the_same": log.held,
            "asked_again": log.requested,
            "under_way_again": log.under_way,
            "lost": log.lost,
            "waiting": log.waiting,
        }
        return replace(_judge(found, log), evidence=evidence)

    async def _read_logs(self, found: Registration) -> DeliveryLog:
        log = DeliveryLog(given_up=[])
        for one in found.of(SignatureScheme.STANDARD):
            webhook_id = one.webhook.webhook_id
            try:
                log.given_up += [
                    GivenUp(webhook_id=webhook_id, delivery=delivery)
                    async for delivery in self._read_log(webhook_id, "failed")
                ]
                for status in _STILL_RETRIED:
                    created = [d.created_at async for d in self._read_log(webhook_id, status)]
                    log.waiting += sum(at is not None and self.now - at > LATE for at in created)
            except (OpenPhoneRefusedError, OpenPhoneListError):
                # The provider's log of deliveries exists only in some plans and on some hosts. The
                # rest of this check does not need the log.
                log.is_complete = False
        return log

    async def _read_log(self, webhook_id: str, status: str) -> AsyncIterator[HookDelivery]:
        await self.wait()
        hooks, after = self.registrar.hooks, self.now - LOOKS_BACK
        async for delivery in hooks.deliveries(webhook_id, status=status, after=after):
            yield delivery

    async def _find_missing(self, log: DeliveryLog) -> list[GivenUp]:
        """Return the deliveries that must be requested again.

        The other deliveries are counted in ``log``.
        """
        given_up = [await self._with_event_id(one) for one in log.given_up[:MOST_READ]]
        given_up += log.given_up[MOST_READ:]
        async with self.registrar.new_uow() as uow:
            stored = await _read_stored_events(uow, given_up)
            requests = await _read_requests(uow, given_up)
        missing = []
        for one in given_up:
            request = requests.get(one.delivery.delivery_id)
            is_recent = request and self.now - request.asked_at < REQUEST_AGAIN_AFTER
            if one.delivery.event_id in stored:
                log.held += 1
            elif is_recent:
                log.under_way += 1
            elif request is None or request.times < MOST_TIMES:
                missing.append(one)
            else:
                log.lost += 1
        return missing

    async def _with_event_id(self, one: GivenUp) -> GivenUp:
        """Return the delivery with its event id.

        If ``one`` has no event id, fetch the delivery from the provider. Its body has the id.
        """
        if one.delivery.event_id is not None:
            return one
        await self.wait()
        try:
            opened = await self.registrar.hooks.delivery(one.webhook_id, one.delivery.delivery_id)
        except OpenPhoneRefusedError:
            return one
        return one if opened is None else replace(one, delivery=opened)

    async def _request_again(self, missing: Sequence[GivenUp], log: DeliveryLog) -> None:
        requested: list[GivenUp] = []
        refused, began = 0, time.monotonic()
        try:
            for one in missing[:MOST_REQUESTED]:
                if time.monotonic() - began > WORKING_SECONDS:
                    break
                await self.wait()
                try:
                    await self.registrar.hooks.retry(one.webhook_id, one.delivery.delivery_id)
                except OpenPhoneBusyError:
                    break
                except CrmError:
                    refused += 1
                else:
                    requested.append(one)
        finally:
            # Store which deliveries were requested again, even if this task is cancelled, because
            # the requests were already sent to the provider.
            async with self.registrar.new_uow() as uow:
                await _store_requests(uow, requested, now=self.registrar.now())
        log.requested = len(requested)
        log.lost += refused
        # This check did not request all missing deliveries again. The next check continues with the
        # others.
        log.under_way += len(missing) - len(requested) - refused


def _judge(found: Registration, log: DeliveryLog) -> CheckResult:
    if found.findings:
        said = " ".join(f"{one.sentence} Repair: `{one.repair}`." for one in found.findings)
        return CheckResult(leg=found.findings[0].fault.value, failure=said)
    if log.waiting:
        sentence = (
            f"The provider has tried for more than ten minutes to deliver {log.waiting} events, "
            "without success so far. `crm-api webhooks test` shows how this service responds to "
            "the provider."
        )
        return CheckResult(leg="not_delivered", failure=sentence)
    on_their_way = log.requested + log.under_way
    if on_their_way + log.lost:
        sentence = (
            f"The provider stopped retrying {on_their_way + log.lost} events that are not stored "
            f"here. Events that were requested again: {on_their_way}."
        )
        sentence += f" Events that could not be recovered: {log.lost}." if log.lost else ""
        return CheckResult(leg="given_up", failure=sentence)
    return CheckResult()


STORED_EVENTS = text("""
    SELECT provider_event_id FROM webhook_event_key
     WHERE provider_event_id = ANY(CAST(:event_ids AS text[]))
""")


async def _read_stored_events(uow: UnitOfWork, given_up: Sequence[GivenUp]) -> set[str]:
    """Return the event ids of those deliveries whose events are stored here."""
    event_ids = [one.delivery.event_id for one in given_up if one.delivery.event_id is not None]
    return set(await uow.session.scalars(STORED_EVENTS, {"event_ids": event_ids}))


async def _read_requests(
    uow: UnitOfWork, given_up: Sequence[GivenUp]
) -> dict[str, WebhookRedelivery]:
    """Return the earlier requests to repeat these deliveries, by delivery id."""
    of_these = text("delivery_id = ANY(CAST(:delivery_ids AS text[]))")
    found = await uow.session.scalars(
        select(WebhookRedelivery).where(of_these),
        {"delivery_ids": [one.delivery.delivery_id for one in given_up]},
    )
    return {one.delivery_id: one for one in found}


STORE_REQUEST = text("""
    INSERT INTO webhook_redelivery (delivery_id, webhook_id, provider_event_id, times, asked_at)
    VALUES (:delivery_id, :webhook_id, :event_id, 1, :now)
    ON CONFLICT (delivery_id) DO UPDATE
    SET times = webhook_redelivery.times + 1, asked_at = excluded.asked_at
""")


async def _store_requests(uow: UnitOfWork, requested: Sequence[GivenUp], *, now: datetime) -> None:
    """Store that these deliveries were requested again, at ``now``."""
    for one in requested:
        values = {
            "delivery_id": one.delivery.delivery_id,
            "webhook_id": one.webhook_id,
            "event_id": one.delivery.event_id,
            "now": now,
        }
        await uow.session.execute(STORE_REQUEST, values)
