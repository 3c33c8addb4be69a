"""The table of the devices on which users have turned on web push."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class PushSubscription(Base):
    """A browser of a user that shows notices, with the address of its push service.

    A row is deleted when the push service reports that the subscription is over.
    """

    __tablename__ = "push_subscription"
    __table_args__ = (
        Index("uq_push_subscription_endpoint", "endpoint", unique=True),
        Index("idx_push_subscription_user", "user_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    endpoint: Mapped[str]
    """The address at the push service, which accepts only requests that our key has signed."""
    p256dh: Mapped[str]
    """The public key of the browser, in base64url."""
    auth: Mapped[str]
    """The authentication secret of the browser, in base64url. With it and ``p256dh``, a message can
    be encrypted, but not decrypted."""
    created_at: Mapped[datetime]
    last_success_at: Mapped[datetime | None]
    """When the push service last accepted a message."""
