"""The root secret: key of hashes that cannot be computed again."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class RootSecret(Base):
    """The secret of the keyed hashes and of the consent chain, encrypted; there is one row.

    It is the secret key of the first start, and stays when the secret key is replaced.
    """

    __tablename__ = "root_secret"

    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
