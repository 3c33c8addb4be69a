"""The signing keys that this service made or found: saved sealed, and accepted by the receiver."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.signature import SignatureScheme
from crm_api.domain.sealing import UnsealError, seal, unseal
from crm_api.domain.webhook_setup import queries

log = structlog.get_logger()

OVERLAP = timedelta(hours=28)
"""The provider's last retry comes 27 h 35 min after its first try; whether it signs a retry anew
is not known, so the old key is accepted for that long."""


@dataclass(frozen=True, kw_only=True)
class SavedKey:
    """A key that is accepted, and until when."""

    webhook_id: str
    scheme: SignatureScheme
    key: str = field(repr=False)
    retire_at: datetime | None

    @property
    def is_current(self) -> bool:
        """True when the provider signs with it now."""
        return self.retire_at is None


async def accepted_keys(uow: UnitOfWork, *, secret: bytes, now: datetime) -> list[SavedKey]:
    """Read every saved key that is accepted now.

    One that cannot be read, because the secret key is another one, is left out and logged.
    """
    found: list[SavedKey] = []
    for row in await queries.live_keys(uow.session, now=now):
        try:
            key = unseal(row.sealed, secret=secret, about=_about(row.webhook_id))
        except UnsealError as error:
            log.warning("webhook key cannot be read", webhook=row.webhook_id, reason=str(error))
            continue
        found.append(
            SavedKey(
                webhook_id=row.webhook_id,
                scheme=SignatureScheme(row.scheme),
                key=key,
                retire_at=row.retire_at,
            )
        )
    return found


async def save_key(
    uow: UnitOfWork,
    *,
    webhook_id: str,
    scheme: SignatureScheme,
    key: str,
    secret: bytes,
    now: datetime,
) -> None:
    """Keep a webhook's new key; the one before is accepted for ``OVERLAP`` more."""
    await queries.retire_key(uow.session, webhook_id=webhook_id, until=now + OVERLAP)
    await queries.add_key(
        uow.session,
        webhook_id=webhook_id,
        scheme=scheme,
        sealed=seal(key, secret=secret, about=_about(webhook_id)),
        now=now,
    )


async def retire_keys(uow: UnitOfWork, *, webhook_ids: Sequence[str], now: datetime) -> None:
    """Let the keys of webhooks end that are no more; what is on its way is still accepted."""
    for webhook_id in webhook_ids:
        await queries.retire_key(uow.session, webhook_id=webhook_id, until=now + OVERLAP)


async def forget_retired(uow: UnitOfWork, *, now: datetime) -> None:
    """Remove the keys whose overlap is over."""
    await queries.forget_retired(uow.session, now=now)


def _about(webhook_id: str) -> str:
    return f"webhook key {webhook_id}"
