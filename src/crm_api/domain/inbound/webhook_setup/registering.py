"""Register our webhooks, adopt or repair existing ones, and rotate their keys.

After an interruption at any step, ``crm-api webhooks register`` can be run again. If the provider
already has a webhook with our address, the command uses this webhook. If the key of the webhook was
lost, a rotation creates a new key. If possible, a new key is saved before the provider signs events
with this key.
"""

from crm_api.domain.inbound.webhook_setup import keys as key_store
from crm_api.domain.inbound.webhook_setup import legacy
from crm_api.domain.inbound.webhook_setup.comparing import (
    ALL_LINES,
    NEEDED,
    WELCOME,
    Fault,
    OurWebhook,
    Registration,
    wanted_events,
)
from crm_api.domain.inbound.webhook_setup.errors import WebhookMissingError
from crm_api.domain.inbound.webhook_setup.webhook_address import (
    FEWER_EVENTS_MAY_DO,
    LABEL,
    WebhookAddress,
)
from crm_api.domain.provider.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.provider.openphone.facts import RegisteredWebhook
from crm_api.domain.provider.openphone.signature import SignatureScheme


class Registrar(WebhookAddress):
    """Sets up the webhooks at the provider that point to one address."""

    async def register(self) -> list[str]:
        """Create the webhook of API version 2026-03-30, or adopt and repair the existing one.

        Returns:
            Sentences about what was done.

        Raises:
            AddressNotPublicError: The real provider could not reach the address.
            WebhookMissingError: The provider has only legacy webhooks.
            KeyNotShownError: The provider did not return the new key.
            OpenPhoneBusyError: The provider is unavailable; run the command again.
            OpenPhoneRefusedError: The provider refuses the request.
        """
        self.require_public()
        found = await self.look()
        if not found.dated_is_known:
            raise WebhookMissingError(
                "This provider does not support webhooks of API version 2026-03-30. Use `crm-api "
                "webhooks register --legacy`."
            )
        ours = found.of(SignatureScheme.STANDARD)
        if ours:
            best, *others = sorted(ours, key=lambda one: len(one.faults))
            done = await self._repair(best)
            done += [
                f"Webhook {one.webhook.webhook_id} points to the same address. Delete it at the "
                "provider."
                for one in others
            ]
        else:
            done = await self._create()
        return done + _report_foreign(found)

    async def register_legacy(self) -> list[str]:
        """Create four legacy webhooks, one for each group of event types in ``LEGACY_FAMILIES``.

        A webhook of this service that already exists at the provider is kept if it is correct and
        its key can be stored. Otherwise it is replaced.

        Returns:
            Sentences about what was done.

        Raises:
            AddressNotPublicError: The real provider could not reach the address.
            KeyNotShownError: The provider did not return the new key.
            OpenPhoneBusyError: The provider is unavailable; run the command again.
            OpenPhoneRefusedError: The provider refuses the request.
        """
        self.require_public()
        found = await self.look()
        done = await legacy.register(self, found)
        return done + _report_foreign(found)

    async def rotate(self) -> list[str]:
        """Give each of our webhooks a new key; the old keys stay valid for ``OVERLAP``.

        Returns:
            Sentences about what was done.

        Raises:
            WebhookMissingError: No webhook points to our address.
            KeyNotShownError: The provider did not return the new key.
            OpenPhoneBusyError: The provider is unavailable; rotate again later.
            OpenPhoneRefusedError: The provider refuses the request.
        """
        found = await self.look()
        if not found.ours:
            raise WebhookMissingError(
                f"No webhook points to {self.url}. Create one with `crm-api webhooks register`."
            )
        done = []
        for one in found.of(SignatureScheme.STANDARD):
            await self.new_key(one.webhook.webhook_id)
            done.append(f"Webhook {one.webhook.webhook_id} has a new key.")
        done += await legacy.rotate(self, found)
        hours = int(key_store.OVERLAP.total_seconds() // 3600)
        done.append(f"New keys are accepted at once, old keys for {hours} more hours.")
        if self.given:
            done.append(
                "Keys in CRM_OPENPHONE_WEBHOOK_SECRETS are accepted until they are removed."
            )
        return done

    async def _create(self) -> list[str]:
        webhook = await self._create_dated()
        if webhook.key is not None:
            await self.save_key(webhook.webhook_id, SignatureScheme.STANDARD, webhook.key)
        else:
            await self.new_key(webhook.webhook_id)
        await self.hooks.update_dated(webhook.webhook_id, status="enabled")
        await self.audit("register_webhook", webhook.webhook_id)
        count = len(webhook.events)
        return [
            f"Registered webhook {webhook.webhook_id} for {count} event types; its key is saved."
        ]

    async def _create_dated(self) -> RegisteredWebhook:
        """Create a webhook for all known event types.

        If the provider refuses this, create it only for the needed event types.
        """
        needed = NEEDED[SignatureScheme.STANDARD]
        try:
            return await self.hooks.create_dated(
                url=self.url, events=sorted(needed | WELCOME), label=LABEL
            )
        except OpenPhoneRefusedError as error:
            if error.status not in FEWER_EVENTS_MAY_DO:
                raise
        return await self.hooks.create_dated(url=self.url, events=sorted(needed), label=LABEL)

    async def _repair(self, one: OurWebhook) -> list[str]:
        webhook_id = one.webhook.webhook_id
        done = []
        if Fault.KEY_UNKNOWN in one.faults:
            await self.new_key(webhook_id)
            done.append(f"Adopted webhook {webhook_id}; it has a new key, which is saved.")
        changes: dict[str, object] = {}
        if Fault.EVENTS_MISSING in one.faults:
            offered = NEEDED[SignatureScheme.STANDARD]
            changes["events"] = wanted_events(one.webhook, offered=offered)
        if Fault.LINES_MISSING in one.faults:
            changes["resourceIds"] = [ALL_LINES]
        if Fault.DISABLED in one.faults:
            changes["status"] = "enabled"
        if changes:
            await self.hooks.update_dated(webhook_id, **changes)
            done.append(f"Repaired webhook {webhook_id}; changed: {', '.join(changes)}.")
        if done:
            await self.audit("repair_webhook", webhook_id)
            return done
        return [f"Webhook {webhook_id} needs no change."]


def _report_foreign(found: Registration) -> list[str]:
    return [
        f"Webhook {one.webhook_id} points to another address ({one.url}) and was not changed."
        for one in found.foreign
    ]
