"""The table of responses to requests with an ``Idempotency-Key``."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class IdempotencyKey(Base):
    """An idempotency key of a caller, with its request and the response to the request.

    In one transaction, the row is inserted, the request is carried out, and the response is stored
    in the row. So a committed row always has its response, and a second request with the same key
    waits for this transaction.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        Index("idx_idempotency_key_created", "created_at"),
    )

    caller: Mapped[str] = mapped_column(primary_key=True)
    """The caller who sent the key; another caller may use the same key."""
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of method, path with query, and body."""
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The encrypted body of the response. It may contain an API key that is shown only once."""
    created_at: Mapped[datetime]
