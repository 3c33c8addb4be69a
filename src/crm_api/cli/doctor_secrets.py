"""`crm-api doctor`: check with which key the stored secrets are encrypted."""

from crm_api.cli.findings import Check, State
from crm_api.domain.monitoring.key_rotation import resealing
from crm_api.domain.monitoring.key_rotation.resealing import SealedRows
from crm_api.domain.monitoring.key_rotation.root_secret import with_secret
from crm_api.platform.database import open_engine, session_factory
from crm_api.platform.encryption import Secret
from crm_api.platform.settings import Settings


async def check_secrets(settings: Settings) -> list[Check]:
    """Check that all stored secrets are encrypted with the current key.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set, or no given key decrypts the root secret.
    """
    known = await with_secret(settings, patience=0, adopts=False)
    secret = Secret(known.require_secret_key(), seals=known.secret_keys())
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        session_factory(engine)() as session,
    ):
        return judge_secrets(await resealing.count_sealed_rows(session, secret=secret))


def judge_secrets(found: list[SealedRows]) -> list[Check]:
    """Return the lines of the report about stored secrets, from their counts per table."""
    checks = [
        Check(
            "secrets",
            State.BROKEN,
            f"{one.unreadable} rows of {one.table} cannot be decrypted with any given key; add the "
            "key that encrypted them to CRM_OTHER_SECRET_KEYS",
        )
        for one in found
        if one.unreadable
    ]
    others = sum(one.others for one in found)
    if others:
        advice = f"{others} rows are encrypted with another key; run `crm-api database reseal`"
        checks.append(Check("secrets", State.WARNING, advice))
    total = sum(one.current for one in found)
    advice = f"all {total} stored secrets are encrypted with the current key"
    return checks or [Check("secrets", State.OK, advice)]
