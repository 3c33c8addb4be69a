"""The description inside a backup."""

import hashlib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_api.domain.kit.schemas import Instant
from crm_api.domain.monitoring.backups.errors import BackupError

FORMAT: Literal[1] = 1


class Manifest(BaseModel):
    """The first member of a backup."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    made_at: Instant
    """Instant of the database snapshot; later changes are not in the backup."""
    program: str
    """Version of crm-api that made it."""
    revision: str
    """Revision of the schema."""
    server: str
    """Version of PostgreSQL."""
    secret_key_digest: str
    """A restore needs the same key: encrypted values and hashes depend on it."""
    tables: dict[str, int]
    """Rows in each table of the snapshot."""
    media_files: int
    media_bytes: int

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Parse a manifest.

        Raises:
            BackupError: This release cannot read it.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise BackupError(
                "the backup's description cannot be read; restore it with the release that made it"
            ) from None


def digest_of(secret_key: bytes) -> str:
    """Return a digest that distinguishes secret keys without revealing them."""
    return hashlib.sha256(b"crm-api backup\0" + secret_key).hexdigest()
