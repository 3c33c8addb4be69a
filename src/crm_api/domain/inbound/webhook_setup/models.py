"""Table of the signing keys of our webhooks."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform.database import Base
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
    """When the key is no longer accepted; None for the current key."""
