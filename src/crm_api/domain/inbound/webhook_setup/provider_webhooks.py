"""Read our webhooks at the provider, change their keys, and write changes to the audit log."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from sqlalchemy import text

from crm_api.domain.inbound.webhook_setup import keys as key_store
from crm_api.domain.inbound.webhook_setup.comparing import Keys, Registration, compare
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import ConflictError, Example, InvalidError
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
"""HTTP statuses of a refusal after which a request for fewer event types may succeed. The plan may
lack some event types, or the provider may not know them."""
_NOT_OFFERED = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.BAD_REQUEST}
"""HTTP statuses that mean that the provider does not support this kind of webhook, or its API
version."""
_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - recognised, not bound


class AddressNotPublicError(InvalidError):
    """The provider cannot reach the address of this service from the internet."""

    code = "address_not_public"
    title = "Address not public"
    example = Example("http://localhost:8000/webhooks/openphone")

    def __init__(self, url: str) -> None:
        super().__init__(
            f"The provider cannot reach {url}. Set CRM_PUBLIC_URL to the https address at which "
            "this service can be reached from the internet."
        )


class WebhookMissingError(ConflictError):
    """The provider has no webhook that points to this service."""

    code = "webhook_missing"
    title = "Webhook missing"
    example = Example(
        "No webhook points to https://crm.example.com/webhooks/openphone. Create one with "
        "`crm-api webhooks register`."
    )


class KeyNotShownError(ConflictError):
    """The provider created a webhook or a key, but did not return a usable key."""

    code = "webhook_key_not_shown"
    title = "Webhook key not shown"
    example = Example(
        "The provider did not return the new key of webhook WHk3v9. Run `crm-api webhooks rotate` "
        "again."
    )


class SampleNotReceivedError(ConflictError):
    """The provider's sample event did not arrive in time."""

    code = "sample_not_received"
    title = "Sample event not received"
    example = Example(
        "The sample event did not arrive within 30 s. The provider's log gives no reason. Run the "
        "command again, with a longer --seconds."
    )


LINE_IDS = text("SELECT phone_number_id FROM line ORDER BY phone_number_id")


@dataclass(frozen=True, kw_only=True)
class ProviderWebhooks:
    """Reads and changes the webhooks at the provider that send events to our address.

    Attributes:
        url: The address at which events are received.
        secret: The key that encrypts the signing keys.
        given: The signing keys in the settings.
        is_real: False for the sandbox, which can also reach local addresses.
    """

    new_uow: UnitOfWorkFactory
    hooks: HookApi
    url: str
    secret: bytes = field(repr=False)
    given: Sequence[str] = field(repr=False)
    is_real: bool
    now: Callable[[], datetime]

    async def look(self) -> Registration:
        """Read the webhooks at the provider, and compare them with what this service needs.

        Raises:
            OpenPhoneBusyError: The provider is unavailable.
            OpenPhoneRefusedError: The provider refuses the API key.
        """
        dated = await _offered(self.hooks.list_dated)
        legacy = await _offered(self.hooks.list_legacy) or []
        async with self.new_uow() as uow:
            saved = await key_store.accepted_keys(uow, secret=self.secret, now=self.now())
            line_ids = (await uow.session.scalars(LINE_IDS)).all()
        keys = known_keys(saved, self.given)
        return compare(url=self.url, dated=dated, legacy=legacy, keys=keys, line_ids=line_ids)

    async def new_key(self, webhook_id: str) -> None:
        """Replace a webhook's key at the provider, and save the new key.

        Raises:
            KeyNotShownError: The provider did not return the new key.
            OpenPhoneBusyError: The provider is unavailable; replace the key again later.
            OpenPhoneRefusedError: The provider refuses the request.
        """
        key = await self.hooks.rotate(webhook_id)
        if key is None:
            raise KeyNotShownError(
                f"The provider did not return the new key of webhook {webhook_id}. Run `crm-api "
                "webhooks rotate` again."
            )
        await self.save_key(webhook_id, SignatureScheme.STANDARD, key)
        await self.audit("rotate_webhook_key", webhook_id)

    async def save_key(self, webhook_id: str, scheme: SignatureScheme, key: str) -> None:
        """Encrypt and save a webhook's new key; the previous key stays valid for ``OVERLAP``.

        Raises:
            KeyNotShownError: The provider returned a key that cannot be decoded.
        """
        try:
            decode_key(key)
        except ValueError as error:
            detail = f"The key of webhook {webhook_id} cannot be used: {error}."
            raise KeyNotShownError(detail) from None
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
        """Write a change of a webhook to the audit log; ``detail`` must contain no signing keys."""
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
        """Check that the provider can reach our webhook address.

        Raises:
            AddressNotPublicError: The real provider cannot reach the address, because the address
                is local or does not begin with ``https://``.
        """
        parts = urlsplit(self.url)
        if self.is_real and (parts.scheme != "https" or parts.hostname in _LOCAL):
            raise AddressNotPublicError(self.url)


def known_keys(saved: Sequence[key_store.SavedKey], given: Sequence[str]) -> Keys:
    """Combine the signing keys in the database with the signing keys in the settings."""
    every = [*given, *(one.key for one in saved)]
    return Keys(
        saved=frozenset(one.webhook_id for one in saved if one.is_current),
        accepted=frozenset(decode_key(key) for key in every),
        has_given=bool(given),
    )


async def _offered(
    fetch: Callable[[], Awaitable[list[RegisteredWebhook]]],
) -> list[RegisteredWebhook] | None:
    """Return the webhooks that ``fetch`` reads; None if the provider does not support them."""
    try:
        return await fetch()
    except OpenPhoneRefusedError as error:
        if error.status not in _NOT_OFFERED:
            raise
    return None
