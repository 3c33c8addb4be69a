"""The root secret, which keys what cannot be made again."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base


class RootSecret(Base):
    """The secret of the keyed hashes and of the consent chain, sealed; there is one.

    It is the secret key of the first start, and stays when the secret key is replaced.
    """

    __tablename__ = "root_secret"

    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
