"""The description of a backup, which is the first member of its archive."""

import hashlib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_api.domain.kit.schemas import Instant
from crm_api.domain.monitoring.backups.errors import BackupError

FORMAT: Literal[1] = 1


class Manifest(BaseModel):
    """The description of a backup: what it contains and what a restore needs."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    made_at: Instant
    """The time of the data; later changes are not in the backup."""
    program: str
    """The version of crm-api that made the backup."""
    revision: str
    """The revision of the database schema."""
    server: str
    """The version of PostgreSQL."""
    secret_key_digest: str
    """The digest of the secret key. A restore needs this key, because encrypted values and hashes
    in the database depend on it."""
    tables: dict[str, int]
    """The number of rows in each table."""
    media_files: int
    media_bytes: int

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Parse the content of ``manifest.json``.

        Raises:
            BackupError: This release does not know its format.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise BackupError(
                "this release cannot read the description of the backup; restore it with the "
                "release that made it"
            ) from None


def digest_of(secret_key: bytes) -> str:
    """Return a digest by which two secret keys can be compared without revealing them."""
    return hashlib.sha256(b"crm-api backup\0" + secret_key).hexdigest()
