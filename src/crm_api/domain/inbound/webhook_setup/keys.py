"""Save and read the signing keys of our webhooks; they are encrypted in the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import CheckConstraint, Index, LargeBinary, delete, or_, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform.database import Base, UnitOfWork
from crm_api.platform.encryption import UnsealError, seal, unseal
from crm_api.platform.ids import new_id


class WebhookKey(Base):
    """One signing key, encrypted. It is saved, because the provider shows a key only once."""

    __tablename__ = "webhook_key"
    __table_args__ = (
        CheckConstraint(one_of("scheme", SignatureScheme), name="scheme"),
        Index(
            "uq_webhook_key_current",
            "webhook_id",
            unique=True,
            postgresql_where=text("retire_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    webhook_id: Mapped[str]
    """The provider's id of the webhook."""
    scheme: Mapped[str]
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    retire_at: Mapped[datetime | None]
    """The key is accepted until this time; None for the current key."""


log = structlog.get_logger()

OVERLAP = timedelta(hours=28)
"""How long an old key is accepted after it was replaced. The provider's last retry comes 27 h 35
min after its first try, and it is not known whether a retry gets a new signature."""


@dataclass(frozen=True, kw_only=True)
class SavedKey:
    """A saved key with which the signatures of webhook requests are checked.

    Attributes:
        retire_at: The key is accepted until this time; None for the current key.
    """

    webhook_id: str
    scheme: SignatureScheme
    key: str = field(repr=False)
    retire_at: datetime | None

    @property
    def is_current(self) -> bool:
        """True if the provider signs with this key now."""
        return self.retire_at is None


async def accepted_keys(uow: UnitOfWork, *, secret: bytes, now: datetime) -> list[SavedKey]:
    """Return every saved key that is accepted now, oldest first.

    A signing key cannot be decrypted if the secret key in the settings has changed. Such a signing
    key is skipped and logged.
    """
    found: list[SavedKey] = []
    for row in await uow.session.scalars(
        select(WebhookKey)
        .where(or_(WebhookKey.retire_at.is_(None), WebhookKey.retire_at > now))
        .order_by(WebhookKey.created_at, WebhookKey.id)
        .execution_options(populate_existing=True)
    ):
        try:
            key = unseal(row.sealed, secret=secret, about=_about(row.webhook_id))
        except UnsealError as error:
            log.warning(
                "saved webhook key could not be decrypted",
                webhook_id=row.webhook_id,
                reason=str(error),
            )
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
    """Encrypt and save a webhook's new key; the previous key stays valid for ``OVERLAP``."""
    await retire_keys(uow, webhook_ids=[webhook_id], now=now)
    uow.session.add(
        WebhookKey(
            webhook_id=webhook_id,
            scheme=scheme,
            sealed=seal(key, secret=secret, about=_about(webhook_id)),
            created_at=now,
        )
    )
    await uow.session.flush()


async def retire_keys(uow: UnitOfWork, *, webhook_ids: Sequence[str], now: datetime) -> None:
    """Let the current keys of these webhooks expire after ``OVERLAP``.

    During this time, events that the provider signed with these keys are still accepted.
    """
    await uow.session.execute(
        update(WebhookKey)
        .where(WebhookKey.webhook_id.in_(webhook_ids), WebhookKey.retire_at.is_(None))
        .values(retire_at=now + OVERLAP)
    )


async def forget_retired_keys(uow: UnitOfWork, *, now: datetime) -> None:
    """Delete the saved signing keys that are no longer accepted."""
    await uow.session.execute(delete(WebhookKey).where(WebhookKey.retire_at <= now))


def _about(webhook_id: str) -> str:
    return f"webhook key {webhook_id}"
