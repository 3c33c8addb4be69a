"""The table of the root secret, which is the key of all keyed hashes in the database."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class RootSecret(Base):
    """The root secret, encrypted with the secret key. There is one row.

    The root secret is the key of the keyed hashes and of the consent chain. Because these cannot be
    computed again, the root secret does not change when the secret key is replaced. It is the
    secret key that the service had when it was started for the first time.
    """

    __tablename__ = "root_secret"

    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
