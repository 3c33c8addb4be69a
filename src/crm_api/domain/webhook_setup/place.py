"""Our webhooks at the provider, and what every change of them needs: keys, notes, an address."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.openphone.facts import RegisteredWebhook
from crm_api.domain.openphone.hooks import HookApi
from crm_api.domain.openphone.signature import SignatureScheme, decode_key
from crm_api.domain.operations import service as operations
from crm_api.domain.webhook_setup import keys as key_store
from crm_api.domain.webhook_setup import queries
from crm_api.domain.webhook_setup.comparing import Keys, Registration, compare
from crm_api.domain.webhook_setup.errors import AddressNotPublicError, KeyNotShownError

LABEL = "crm-api"
ACTOR = "command line"
LESS_MAY_DO = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""The plan lacks some kinds of events, or the provider does not know them."""
_NOT_OFFERED = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.BAD_REQUEST}
"""Where a system of webhooks, or its version, is not there."""
_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - recognised, not bound


@dataclass(frozen=True, kw_only=True)
class OurPlace:
    """One address at which events are received, seen from the provider.

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
        dated = await _offered(self.hooks.list_dated)
        legacy = await _offered(self.hooks.list_legacy) or []
        async with self.new_uow() as uow:
            saved = await key_store.accepted_keys(uow, secret=self.secret, now=self.now())
            line_ids = await queries.line_ids(uow.session)
        keys = known_keys(saved, self.given)
        return compare(url=self.url, dated=dated, legacy=legacy, keys=keys, line_ids=line_ids)

    async def new_key(self, webhook_id: str) -> None:
        """Let the provider make a new key, and save it.

        Raises:
            KeyNotShownError: The provider did not show it.
            OpenPhoneBusyError: The provider is away; rotating again puts it right.
            OpenPhoneRefusedError: The provider refuses.
        """
        key = await self.hooks.rotate(webhook_id)
        if key is None:
            raise KeyNotShownError(f"The provider did not show the new key of {webhook_id}.")
        await self.save_key(webhook_id, SignatureScheme.STANDARD, key)
        await self.audit("rotate_webhook_key", webhook_id)

    async def save_key(self, webhook_id: str, scheme: SignatureScheme, key: str) -> None:
        """Keep a key, sealed; the one before is accepted for a while.

        Raises:
            KeyNotShownError: It is no key.
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
        """Note what was decided; never a key."""
        async with self.new_uow() as uow:
            await operations.audit(
                uow,
                actor=ACTOR,
                action=action,
                subject=webhook_id,
                detail={"url": self.url, **detail},
                now=self.now(),
            )

    def require_public(self) -> None:
        """Make sure that the provider can reach the address.

        Raises:
            AddressNotPublicError: The real one cannot.
        """
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


async def _offered(
    fetch: Callable[[], Awaitable[list[RegisteredWebhook]]],
) -> list[RegisteredWebhook] | None:
    """Fetch a system's webhooks; None when the provider does not have that system."""
    try:
        return await fetch()
    except OpenPhoneRefusedError as error:
        if error.status not in _NOT_OFFERED:
            raise
    return None
