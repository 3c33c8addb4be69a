"""Test our address, key and storage with a signed sample event from the provider."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.inbound.webhook_setup.comparing import Fault, OurWebhook
from crm_api.domain.inbound.webhook_setup.provider_webhooks import (
    SampleNotReceivedError,
    WebhookMissingError,
)
from crm_api.domain.inbound.webhook_setup.registering import Registrar
from crm_api.domain.provider.openphone.facts import HookDelivery
from crm_api.domain.provider.openphone.signature import SignatureScheme

HARMLESS = ("contact.updated", "contact.deleted")
"""Event types whose samples change nothing in this service. A sample of a message event would fail,
because it names an unknown line."""
POLL_SECONDS = 0.2
_UNAUTHORIZED = 401


# All samples (test events of the provider) of one event type have the same event id, and an event
# id is stored only once. So the stored event of an earlier sample gets another id.
FREE_EVENT_ID = text("""
    WITH freed AS (
        DELETE FROM webhook_event_key WHERE provider_event_id = :event_id RETURNING event_id
    ), renamed AS (
        UPDATE webhook_event SET provider_event_id = provider_event_id || ':' || id
          FROM freed WHERE id = freed.event_id
    )
    SELECT event_id FROM freed
""")

IS_STORED = text("""
    SELECT EXISTS (SELECT FROM webhook_event_key WHERE provider_event_id = :event_id)
""")


async def receive_sample(
    registrar: Registrar,
    *,
    seconds: float,
) -> str:
    """Request a sample event and wait until it is stored; return a sentence about the result.

    Args:
        seconds: How many seconds to wait.

    Raises:
        WebhookMissingError: No enabled webhook of API version 2026-03-30 points to our address.
        SampleNotReceivedError: The sample did not arrive in time, or the provider returned no id.
        OpenPhoneBusyError: The provider is unavailable.
        OpenPhoneRefusedError: The provider refuses the request.
    """
    webhook = await _webhook(registrar)
    webhook_id = webhook.webhook.webhook_id
    kind = next((name for name in HARMLESS if name in webhook.webhook.events), HARMLESS[0])
    began_at, began = registrar.now(), time.monotonic()
    event_id = await registrar.hooks.send_test(webhook_id, kind)
    if event_id is None:
        raise SampleNotReceivedError(
            "The provider sent a sample event but did not return its id, so its arrival cannot be "
            "checked. Look for it in GET /v1/webhook-events."
        )
    async with registrar.new_uow() as uow:
        freed = await uow.session.execute(FREE_EVENT_ID, {"event_id": event_id})
        was_there = freed.first() is not None
    if was_there:
        # The event that was stored may be an earlier sample or the sample that was just requested.
        # In both cases, a second sample is stored as a new event.
        await registrar.hooks.send_test(webhook_id, kind)
    while time.monotonic() - began < seconds:
        async with registrar.new_uow() as uow:
            if await uow.session.scalar(IS_STORED, {"event_id": event_id}):
                took = time.monotonic() - began
                return (
                    f"A sample event ({kind}) of webhook {webhook_id} was delivered, verified and "
                    f"stored within {took:.1f} s."
                )
        await asyncio.sleep(POLL_SECONDS)
    async for delivery in _unsuccessful(registrar, webhook_id, after=began_at):
        raise SampleNotReceivedError(
            f"The sample event did not arrive within {seconds:g} s: {_why(registrar, delivery)}"
        )
    raise SampleNotReceivedError(
        f"The sample event did not arrive within {seconds:g} s. The provider's log gives no "
        "reason. Run the command again, with a longer --seconds."
    )


async def _webhook(registrar: Registrar) -> OurWebhook:
    found = await registrar.look()
    for one in found.of(SignatureScheme.STANDARD):
        if Fault.DISABLED not in one.faults:
            return one
    raise WebhookMissingError(
        f"No enabled webhook of API version 2026-03-30 points to {registrar.url}. Create one with "
        "`crm-api webhooks register`. Legacy webhooks can only be tested in the provider's app."
    )


async def _unsuccessful(
    registrar: Registrar, webhook_id: str, *, after: datetime
) -> AsyncIterator[HookDelivery]:
    for status in ("sending", "failed", "pending"):
        since = after - timedelta(seconds=30)
        async for entry in registrar.hooks.deliveries(webhook_id, status=status, after=since):
            detail = await registrar.hooks.delivery(webhook_id, entry.delivery_id)
            if detail is not None:
                yield detail


def _why(registrar: Registrar, delivery: HookDelivery) -> str:
    if not delivery.response_statuses:
        return "the provider has not tried to deliver it yet."
    status = delivery.response_statuses[0]
    if status is None:
        return (
            f"the provider got no response from {registrar.url}. Check that this address can be "
            "reached from the internet."
        )
    if status == _UNAUTHORIZED:
        return "its signature was refused. `crm-api webhooks rotate` creates a new key."
    return f"{registrar.url} responded to the provider with status {status}."
