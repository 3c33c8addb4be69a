"""What a backup says about itself."""

import hashlib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_api.backups.errors import BackupError
from crm_api.domain.schemas import Instant

FORMAT: Literal[1] = 1


class Manifest(BaseModel):
    """The first member of a backup."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    made_at: Instant
    """Of the database's snapshot; what happened later is not in it."""
    program: str
    """The version of crm-api that made it."""
    revision: str
    """Of the schema."""
    server: str
    """The version of PostgreSQL."""
    secret_key_digest: str
    """Another key would not fit: what is sealed and hashed depends on it."""
    tables: dict[str, int]
    """Rows in each table of the snapshot."""
    media_files: int
    media_bytes: int

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read one.

        Raises:
            BackupError: It is none that this release can read.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise BackupError(
                "the backup's description cannot be read; restore it with the release that made it"
            ) from None


def digest_of(secret_key: bytes) -> str:
    """Return what tells two secret keys apart and shows neither: they are long and random."""
    return hashlib.sha256(b"crm-api backup\0" + secret_key).hexdigest()
