"""Read the root secret from the database when a process starts."""

import asyncio
from datetime import datetime

from sqlalchemy import LargeBinary, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.platform import clock
from crm_api.platform.database import Base, UnitOfWork, open_engine, session_factory
from crm_api.platform.encryption import Secret, UnsealError, seal, unseal
from crm_api.platform.postgres import DATABASE_UNREACHABLE, unreachable_sentence
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings, SettingsError


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


PATIENCE_SECONDS = 30.0
"""How long a process waits for a database that restarts. After this time the process ends, and the
supervisor starts it again."""
_POLL_SECONDS = 0.5
_FEWEST_TRIES = 4
"""The smallest number of tries. A process makes these tries even if the deadline has passed. The
reason: the machine may have suspended the process until after the deadline."""


async def with_secret(
    settings: Settings, *, patience: float = PATIENCE_SECONDS, adopts: bool = True
) -> Settings:
    """Return the settings with the secret of the service; wait while the database is unavailable.

    Args:
        settings: The settings, which name the database and the secret keys.
        patience: The longest wait for the database, in seconds.
        adopts: Whether to store the secret key as the root secret if the database has none. False
            for commands that only read.

    Raises:
        StartError: The database cannot be reached.
        SettingsError: There is no secret key, no secret key decrypts the root secret, or the schema
            of the database is older than this release.
    """
    deadline = asyncio.get_running_loop().time() + patience
    fewest = _FEWEST_TRIES if patience else 1
    tried = 0
    while True:
        tried += 1
        try:
            return await _open(settings, adopts=adopts)
        except ProgrammingError as error:
            raise SettingsError(
                "the database's schema is older than this release: run `crm-api migrate`"
            ) from error
        except DATABASE_UNREACHABLE as error:
            if tried >= fewest and asyncio.get_running_loop().time() > deadline:
                raise StartError(unreachable_sentence(error)) from error
        await asyncio.sleep(_POLL_SECONDS)


async def _open(settings: Settings, *, adopts: bool) -> Settings:
    keys = settings.secret_keys()
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), NO_QUEUE)
        async with uow:
            try:
                secret = await open_root_secret(
                    uow.session, keys=keys, now=clock.now(), adopts=adopts
                )
            except UnsealError as error:
                raise SettingsError(
                    "CRM_SECRET_KEY is not the secret key of this database: start once with only "
                    "the old key; docs/explanation/security.md says how to replace it afterwards"
                ) from error
    return settings.knowing(secret)


_NAME = "root"
ABOUT_ROOT = "root secret"
"""The associated data of the encrypted root secret; decryption needs the same text."""
_READ_ROOT = text("SELECT sealed FROM root_secret WHERE name = :name")
_ADD_ROOT = text("""
    INSERT INTO root_secret (name, sealed, created_at) VALUES (:name, :sealed, :now)
    ON CONFLICT (name) DO NOTHING
""")


async def open_root_secret(
    session: AsyncSession, *, keys: tuple[bytes, ...], now: datetime, adopts: bool
) -> Secret:
    """Decrypt the root secret, and return the secret of the service.

    Args:
        session: The session of a transaction that the caller commits.
        keys: The current secret key, then other known keys.
        now: The current time.
        adopts: Whether to store the current secret key as the root secret if the database has none.

    Raises:
        UnsealError: No key decrypts the root secret. Or the database has no root secret, and there
            are several keys, so it is unclear which key to store.
    """
    sealed: bytes | None = await session.scalar(_READ_ROOT, {"name": _NAME})
    if sealed is None:
        if len(keys) > 1 and adopts:
            raise UnsealError("There are several secret keys and no root secret.")
        if not adopts:
            return Secret(keys[0], seals=keys)
        first = seal(keys[0].decode(), secret=keys[0], about=ABOUT_ROOT)
        await session.execute(_ADD_ROOT, {"name": _NAME, "sealed": first, "now": now})
        sealed = await session.scalar(_READ_ROOT, {"name": _NAME}) or b""
    root = unseal(sealed, secret=Secret(keys[0], seals=keys), about=ABOUT_ROOT)
    return Secret(root.encode(), seals=keys)
