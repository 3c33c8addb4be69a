"""Register our webhooks, adopt or repair existing ones, and rotate their keys.

After an interruption at any step, ``crm-api webhooks register`` can be run again. A new webhook of
API version 2026-03-30 is enabled only after its key is saved. A legacy webhook cannot be changed,
only replaced.
"""

from collections.abc import Sequence

from crm_api.domain.inbound.webhook_setup import keys as key_store
from crm_api.domain.inbound.webhook_setup.comparing import (
    ALL_LINES,
    BY_PLAN,
    NEEDED,
    WELCOME,
    Fault,
    OurWebhook,
    Registration,
    wanted_events,
)
from crm_api.domain.inbound.webhook_setup.provider_webhooks import (
    FEWER_EVENTS_MAY_DO,
    LABEL,
    KeyNotShownError,
    ProviderWebhooks,
    WebhookMissingError,
)
from crm_api.domain.provider.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.provider.openphone.facts import RegisteredWebhook
from crm_api.domain.provider.openphone.hooks import LEGACY_FAMILIES
from crm_api.domain.provider.openphone.signature import SignatureScheme


async def register(address: ProviderWebhooks, found: Registration) -> list[str]:
    """Make sure that each family of events has a correct legacy webhook whose key is stored.

    A family is a group of event types, such as ``messages``. A webhook is replaced if it is not
    correct, or if its key is neither stored nor shown by the provider. A family that the company's
    plan does not include gets no webhook.

    Returns:
        One sentence for each family.
    """
    done: list[str] = []
    for family, events in LEGACY_FAMILIES.items():
        ours = _of_family(found, events)
        sound = [one for one in ours if not one.faults - {Fault.KEY_UNKNOWN}]
        if sound:
            done.append(await _adopt(address, sound[0], family))
        else:
            done.append(await _try_family(address, family, events, ours))
    return done


async def rotate(address: ProviderWebhooks, found: Registration) -> list[str]:
    """Replace each of our legacy webhooks with a new webhook, which has a new key.

    A family of events without a webhook gets none.

    Returns:
        One sentence about each new webhook.
    """
    return [
        await _replace(address, family, events, ours)
        for family, events in LEGACY_FAMILIES.items()
        if (ours := _of_family(found, events))
    ]


def _of_family(found: Registration, events: frozenset[str]) -> list[OurWebhook]:
    return [
        one for one in found.of(SignatureScheme.LEGACY) if events.intersection(one.webhook.events)
    ]


async def _adopt(address: ProviderWebhooks, one: OurWebhook, family: str) -> str:
    name = f"Legacy webhook {one.webhook.webhook_id} ({family})"
    if Fault.KEY_UNKNOWN not in one.faults:
        return f"{name} needs no change."
    if one.webhook.key is None:
        return await _replace(address, family, LEGACY_FAMILIES[family], [one])
    await address.save_key(one.webhook.webhook_id, SignatureScheme.LEGACY, one.webhook.key)
    await address.audit("adopt_webhook", one.webhook.webhook_id)
    return f"Adopted {name[0].lower()}{name[1:]}; its key is saved."


async def _try_family(
    address: ProviderWebhooks, family: str, events: frozenset[str], old: Sequence[OurWebhook]
) -> str:
    """Register the legacy webhook of a family; return a sentence about the result.

    A family is a group of event types, for example ``messages``. Some plans of the provider do not
    include every family. If the provider refuses such a family, no error is raised, and the
    sentence says that the family is not registered.
    """
    try:
        return await _replace(address, family, events, old)
    except OpenPhoneRefusedError as error:
        if error.status not in FEWER_EVENTS_MAY_DO or not events <= BY_PLAN:
            raise
        return f"Not registered: {family}, because the provider refuses it ({error.detail})"


async def _replace(
    address: ProviderWebhooks, family: str, events: frozenset[str], old: Sequence[OurWebhook]
) -> str:
    """Create a new webhook, and only then delete the old webhooks, so that no event is lost."""
    made = await address.hooks.create_legacy(
        family=family, url=address.url, events=sorted(events), label=LABEL
    )
    if made.key is None:
        raise KeyNotShownError(
            f"The provider created webhook {made.webhook_id} but did not return its key. Delete "
            "the webhook at the provider, create one in the provider's app, and copy its key into "
            "CRM_OPENPHONE_WEBHOOK_SECRETS."
        )
    await address.save_key(made.webhook_id, SignatureScheme.LEGACY, made.key)
    for one in old:
        await address.hooks.delete(one.webhook.webhook_id, is_dated=False)
    gone = [one.webhook.webhook_id for one in old]
    async with address.new_uow() as uow:
        await key_store.retire_keys(uow, webhook_ids=gone, now=address.now())
    await address.audit("register_webhook", made.webhook_id, replaced=gone)
    instead = f" instead of {', '.join(gone)}" if gone else ""
    return f"Registered legacy webhook {made.webhook_id} ({family}){instead}; its key is saved."


class Registrar(ProviderWebhooks):
    """Sets up the webhooks at the provider that point to one address."""

    async def register(self) -> list[str]:
        """Create the webhook of API version 2026-03-30. If it exists already, repair it instead.

        Returns:
            Sentences about what was done.

        Raises:
            AddressNotPublicError: Our address is local or does not begin with ``https://``. The
                sandbox allows such an address.
            WebhookMissingError: The provider supports only legacy webhooks.
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
        """Create or replace legacy webhooks; keep correct ones (see the function ``register``).

        Returns:
            Sentences about what was done.

        Raises:
            AddressNotPublicError: Our address is local or does not begin with ``https://``. The
                sandbox allows such an address.
            KeyNotShownError: The provider did not return the new key.
            OpenPhoneBusyError: The provider is unavailable; run the command again.
            OpenPhoneRefusedError: The provider refuses the request.
        """
        self.require_public()
        found = await self.look()
        done = await register(self, found)
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
        done += await rotate(self, found)
        hours = int(key_store.OVERLAP.total_seconds() // 3600)
        done.append(
            f"The new keys are accepted now. The old keys are accepted for {hours} more hours."
        )
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
