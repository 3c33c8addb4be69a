"""The table of the root secret, which is the key of all keyed hashes in the database."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class RootSecret(Base):
    """The root secret, encrypted with the secret key. The table has one row.

    The keyed hashes and the consent chain are computed with the root secret. They cannot be
    computed again with another secret, so the root secret stays the same when the secret key is
    replaced. The root secret is the first secret key that the service used.
    """

    __tablename__ = "root_secret"

    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
