"""Our webhooks at the provider, with what every change needs: keys, audit log, address."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from sqlalchemy import text

from crm_api.domain.inbound.webhook_setup import keys as key_store
from crm_api.domain.inbound.webhook_setup.comparing import Keys, Registration, compare
from crm_api.domain.inbound.webhook_setup.errors import AddressNotPublicError, KeyNotShownError
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.provider.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.provider.openphone.facts import RegisteredWebhook
from crm_api.domain.provider.openphone.hooks import HookApi
from crm_api.domain.provider.openphone.signature import SignatureScheme, decode_key
from crm_api.platform.database import UnitOfWorkFactory

LABEL = "crm-api"
ACTOR = "command line"
FEWER_EVENTS_MAY_DO = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""Answers when the plan lacks some event types, or the provider does not know them."""
_NOT_OFFERED = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.BAD_REQUEST}
"""Answers when the provider lacks this kind of webhooks, or their version."""
_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - recognised, not bound


LINE_IDS = text("SELECT phone_number_id FROM line ORDER BY phone_number_id")


@dataclass(frozen=True, kw_only=True)
class WebhookAddress:
    """One address at which events are received, with access to the provider.

    Attributes:
        url: Where events are received.
        secret: Encrypts the keys.
        given: The keys of the settings.
        is_real: The real provider is used; it cannot reach local addresses.
    """

    new_uow: UnitOfWorkFactory
    hooks: HookApi
    url: str
    secret: bytes = field(repr=False)
    given: Sequence[str] = field(repr=False)
    is_real: bool
    now: Callable[[], datetime]

    async def look(self) -> Registration:
        """Read the registered webhooks, and compare them with what is needed.

        Raises:
            OpenPhoneBusyError: The provider is unavailable.
            OpenPhoneRefusedError: It refuses the API key.
        """
        dated = await _offered(self.hooks.list_dated)
        legacy = await _offered(self.hooks.list_legacy) or []
        async with self.new_uow() as uow:
            saved = await key_store.accepted_keys(uow, secret=self.secret, now=self.now())
            line_ids = (await uow.session.scalars(LINE_IDS)).all()
        keys = known_keys(saved, self.given)
        return compare(url=self.url, dated=dated, legacy=legacy, keys=keys, line_ids=line_ids)

    async def new_key(self, webhook_id: str) -> None:
        """Ask the provider for a new key, and save it.

        Raises:
            KeyNotShownError: The provider did not return it.
            OpenPhoneBusyError: The provider is unavailable; rotate again later.
            OpenPhoneRefusedError: The provider refuses.
        """
        key = await self.hooks.rotate(webhook_id)
        if key is None:
            raise KeyNotShownError(f"The provider did not return the new key of {webhook_id}.")
        await self.save_key(webhook_id, SignatureScheme.STANDARD, key)
        await self.audit("rotate_webhook_key", webhook_id)

    async def save_key(self, webhook_id: str, scheme: SignatureScheme, key: str) -> None:
        """Store a key encrypted; the previous one is accepted for ``OVERLAP`` more.

        Raises:
            KeyNotShownError: It is not a valid key.
        """
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

    async def audit(self, action: str, webhook_id: str, **detail: object) -> None:
        """Write the decision to the audit log, without keys."""
        async with self.new_uow() as uow:
            await note_decision(
                uow,
                actor=ACTOR,
                action=action,
                subject=webhook_id,
                detail={"url": self.url, **detail},
                now=self.now(),
            )

    def require_public(self) -> None:
        """Check that the provider can reach the address.

        Raises:
            AddressNotPublicError: The real provider cannot reach it.
        """
        parts = urlsplit(self.url)
        if self.is_real and (parts.scheme != "https" or parts.hostname in _LOCAL):
            raise AddressNotPublicError(
                f"The provider cannot reach {self.url}: set CRM_PUBLIC_URL to the https address "
                "under which this service is reached from outside."
            )


def known_keys(saved: Sequence[key_store.SavedKey], given: Sequence[str]) -> Keys:
    """Return the accepted keys."""
    every = [*given, *(one.key for one in saved)]
    return Keys(
        saved=frozenset(one.webhook_id for one in saved if one.is_current),
        accepted=frozenset(decode_key(key) for key in every),
        has_given=bool(given),
    )


async def _offered(
    fetch: Callable[[], Awaitable[list[RegisteredWebhook]]],
) -> list[RegisteredWebhook] | None:
    """Return the webhooks of one kind; None when the provider does not have that kind."""
    try:
        return await fetch()
    except OpenPhoneRefusedError as error:
        if error.status not in _NOT_OFFERED:
            raise
    return None
