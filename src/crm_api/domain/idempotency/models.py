"""The answers to requests that carried an ``Idempotency-Key``."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base


class IdempotencyKey(Base):
    """One key of one caller, the request that it stood for, and the answer.

    Inserted before the effect and completed after it, in one transaction: a row that others see
    has its answer, and a twin of a request under way waits for that transaction.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        Index("idx_idempotency_key_created", "created_at"),
    )

    caller: Mapped[str] = mapped_column(primary_key=True)
    """Who sent it: two callers may choose the same key."""
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of method, path with query, and body."""
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed, for it may hold a key that is shown only once."""
    created_at: Mapped[datetime]
