"""Registers our webhooks, adopts or repairs what is there, and rotates their keys.

Every step can be cut off: what it did at the provider is found again by the address, and a key
that was lost on the way is replaced by rotating. A key is saved before events are signed with it
where the provider allows that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.openphone.facts import RegisteredWebhook
from crm_api.domain.openphone.hooks import LEGACY_FAMILIES, HookApi
from crm_api.domain.openphone.signature import SignatureScheme, decode_key
from crm_api.domain.operations import service as operations
from crm_api.domain.webhook_setup import keys as key_store
from crm_api.domain.webhook_setup import queries
from crm_api.domain.webhook_setup.comparing import (
    ALL_LINES,
    NEEDED,
    WELCOME,
    Fault,
    Keys,
    OurWebhook,
    Registration,
    compare,
    wanted_events,
)
from crm_api.domain.webhook_setup.errors import (
    AddressNotPublicError,
    KeyNotShownError,
    WebhookMissingError,
)

LABEL = "crm-api"
ACTOR = "command line"
_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - recognised, not bound


@dataclass(frozen=True, kw_only=True)
class Registrar:
    """Sets up the webhooks of one address.

    Attributes:
        url: Where events are received.
        secret: Seals the keys.
        given: The keys of the settings.
        is_real: Nothing that the real provider cannot reach is registered there.
    """

    new_uow: UnitOfWorkFactory
    hooks: HookApi
    url: str
    secret: bytes = field(repr=False)
    given: Sequence[str] = field(repr=False)
    is_real: bool
    now: Callable[[], datetime]

    async def look(self) -> Registration:
        """Fetch what is registered, and compare it with what should be.

        Raises:
            OpenPhoneBusyError: The provider is away.
            OpenPhoneRefusedError: It refuses the key.
        """
        dated: list[RegisteredWebhook] | None
        try:
            dated = await self.hooks.list_dated()
        except OpenPhoneRefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            dated = None
        legacy = await self.hooks.list_legacy()
        async with self.new_uow() as uow:
            saved = await key_store.accepted_keys(uow, secret=self.secret, now=self.now())
            line_ids = await queries.line_ids(uow.session)
        keys = known_keys(saved, self.given)
        return compare(url=self.url, dated=dated, legacy=legacy, keys=keys, line_ids=line_ids)

    async def register(self) -> list[str]:
        """Make the one webhook of 2026-03-30, or adopt and repair the one that is there.

        Returns:
            What was done, in sentences.

        Raises:
            AddressNotPublicError: The real provider could not reach the address.
            KeyNotShownError: The provider did not show the new key.
            OpenPhoneBusyError: The provider is away; doing it again goes on.
            OpenPhoneRefusedError: The provider refuses; 404 where it has only legacy webhooks.
        """
        self._require_public()
        found = await self.look()
        if not found.dated_is_known:
            raise WebhookMissingError(
                "This provider has no webhooks of 2026-03-30; use `crm-api webhooks register "
                "--legacy`."
            )
        ours = found.of(SignatureScheme.STANDARD)
        if ours:
            best, *others = sorted(ours, key=lambda one: len(one.faults))
            done = await self._repair(best)
            done += [
                f"Webhook {one.webhook.webhook_id} points here as well and may be deleted there."
                for one in others
            ]
        else:
            done = await self._create()
        return done + _told_of_foreign(found)

    async def register_legacy(self) -> list[str]:
        """Make the legacy webhooks of all four families, or adopt and replace those there.

        Returns:
            What was done, in sentences.

        Raises:
            AddressNotPublicError: The real provider could not reach the address.
            KeyNotShownError: The provider did not show the new key.
            OpenPhoneBusyError: The provider is away; doing it again goes on.
            OpenPhoneRefusedError: The provider refuses.
        """
        self._require_public()
        found = await self.look()
        done: list[str] = []
        for family, events in LEGACY_FAMILIES.items():
            ours = [
                one
                for one in found.of(SignatureScheme.LEGACY)
                if events.intersection(one.webhook.events)
            ]
            sound = [one for one in ours if not one.faults - {Fault.KEY_UNKNOWN}]
            if sound:
                done.append(await self._adopt_legacy(sound[0], family))
            else:
                done.append(await self._replace_legacy(family, events, ours))
        return done + _told_of_foreign(found)

    async def rotate(self) -> list[str]:
        """Give each of our webhooks a new key; the old ones are accepted for a while.

        Returns:
            What was done, in sentences.

        Raises:
            WebhookMissingError: None points here.
            KeyNotShownError: The provider did not show the new key.
            OpenPhoneBusyError: The provider is away; rotating again puts it right.
            OpenPhoneRefusedError: The provider refuses.
        """
        found = await self.look()
        if not found.ours:
            raise WebhookMissingError(
                f"No webhook points to {self.url}; `crm-api webhooks register` makes one."
            )
        done = []
        for one in found.of(SignatureScheme.STANDARD):
            await self._new_key(one.webhook.webhook_id)
            done.append(f"Webhook {one.webhook.webhook_id} has a new key.")
        for family, events in LEGACY_FAMILIES.items():
            ours = [
                one
                for one in found.of(SignatureScheme.LEGACY)
                if events.intersection(one.webhook.events)
            ]
            if ours:
                done.append(await self._replace_legacy(family, events, ours))
        hours = int(key_store.OVERLAP.total_seconds() // 3600)
        done.append(f"The new keys are accepted at once, the old ones for {hours} hours more.")
        if self.given:
            done.append(
                "Keys in CRM_OPENPHONE_WEBHOOK_SECRETS are accepted until they are removed."
            )
        return done

    async def _create(self) -> list[str]:
        webhook = await self._create_dated()
        if webhook.key is not None:
            await self._save(webhook.webhook_id, SignatureScheme.STANDARD, webhook.key)
        else:
            await self._new_key(webhook.webhook_id)
        await self.hooks.update_dated(webhook.webhook_id, status="enabled")
        await self._audit("register_webhook", webhook.webhook_id)
        count = len(webhook.events)
        return [f"Registered webhook {webhook.webhook_id} for {count} kinds of events; key saved."]

    async def _create_dated(self) -> RegisteredWebhook:
        """Ask for all that we know of; a provider that does not know some is asked for less."""
        needed = NEEDED[SignatureScheme.STANDARD]
        try:
            return await self.hooks.create_dated(
                url=self.url, events=sorted(needed | WELCOME), label=LABEL
            )
        except OpenPhoneRefusedError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
        return await self.hooks.create_dated(url=self.url, events=sorted(needed), label=LABEL)

    async def _repair(self, one: OurWebhook) -> list[str]:
        webhook_id = one.webhook.webhook_id
        done = []
        if Fault.KEY_UNKNOWN in one.faults:
            await self._new_key(webhook_id)
            done.append(f"Adopted webhook {webhook_id}: it has a new key, which is saved.")
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
            done.append(f"Repaired webhook {webhook_id}: {', '.join(changes)}.")
        if done:
            await self._audit("repair_webhook", webhook_id)
            return done
        return [f"Webhook {webhook_id} is as it should be."]

    async def _adopt_legacy(self, one: OurWebhook, family: str) -> str:
        name = f"Legacy webhook {one.webhook.webhook_id} ({family})"
        if Fault.KEY_UNKNOWN not in one.faults:
            return f"{name} is as it should be."
        if one.webhook.key is None:
            return await self._replace_legacy(family, LEGACY_FAMILIES[family], [one])
        await self._save(one.webhook.webhook_id, SignatureScheme.LEGACY, one.webhook.key)
        await self._audit("adopt_webhook", one.webhook.webhook_id)
        return f"Adopted {name[0].lower()}{name[1:]}: its key is saved."

    async def _replace_legacy(
        self, family: str, events: frozenset[str], old: Sequence[OurWebhook]
    ) -> str:
        """Make a new one before the old goes: twice told is harmless, not told is not."""
        made = await self.hooks.create_legacy(
            family=family, url=self.url, events=sorted(events), label=LABEL
        )
        if made.key is None:
            raise KeyNotShownError(
                f"The provider made webhook {made.webhook_id} without showing its key; delete it "
                "there, and copy a key from its app into CRM_OPENPHONE_WEBHOOK_SECRETS."
            )
        await self._save(made.webhook_id, SignatureScheme.LEGACY, made.key)
        for one in old:
            await self.hooks.delete(one.webhook.webhook_id, is_dated=False)
        gone = [one.webhook.webhook_id for one in old]
        async with self.new_uow() as uow:
            await key_store.retire_keys(uow, webhook_ids=gone, now=self.now())
        await self._audit("register_webhook", made.webhook_id, replaced=gone)
        instead = f" instead of {', '.join(gone)}" if gone else ""
        return f"Registered legacy webhook {made.webhook_id} ({family}){instead}; its key is saved."

    async def _new_key(self, webhook_id: str) -> None:
        key = await self.hooks.rotate(webhook_id)
        if key is None:
            raise KeyNotShownError(f"The provider did not show the new key of {webhook_id}.")
        await self._save(webhook_id, SignatureScheme.STANDARD, key)
        await self._audit("rotate_webhook_key", webhook_id)

    async def _save(self, webhook_id: str, scheme: SignatureScheme, key: str) -> None:
        try:
            decode_key(key)
        except ValueError as error:
            raise KeyNotShownError(f"The key of {webhook_id} cannot be used: {error}.") from None
        async with self.new_uow() as uow:
            await key_store.save_key(
                uow,
                webhook_id=webhook_id,
                scheme=scheme,
                key=key,
                secret=self.secret,
                now=self.now(),
            )

    async def _audit(self, action: str, webhook_id: str, **detail: object) -> None:
        async with self.new_uow() as uow:
            await operations.audit(
                uow,
                actor=ACTOR,
                action=action,
                subject=webhook_id,
                detail={"url": self.url, **detail},
                now=self.now(),
            )

    def _require_public(self) -> None:
        parts = urlsplit(self.url)
        if self.is_real and (parts.scheme != "https" or parts.hostname in _LOCAL):
            raise AddressNotPublicError(
                f"The provider cannot reach {self.url}: set CRM_PUBLIC_URL to the https address "
                "under which this service is reached from outside."
            )


def known_keys(saved: Sequence[key_store.SavedKey], given: Sequence[str]) -> Keys:
    """Sum up which keys are accepted."""
    every = [*given, *(one.key for one in saved)]
    return Keys(
        saved=frozenset(one.webhook_id for one in saved if one.is_current),
        accepted=frozenset(decode_key(key) for key in every),
        has_given=bool(given),
    )


def _told_of_foreign(found: Registration) -> list[str]:
    return [
        f"Webhook {one.webhook_id} points elsewhere ({one.url}) and was left as it is."
        for one in found.foreign
    ]
