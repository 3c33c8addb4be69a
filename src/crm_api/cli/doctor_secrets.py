"""`crm-api doctor` on what is sealed in the database, and under which key."""

from crm_api.cli.findings import Check, State
from crm_api.db import open_engine, session_factory
from crm_api.domain.resealing import service as resealing
from crm_api.domain.resealing.service import Found
from crm_api.domain.sealing import Secret
from crm_api.root_secret import with_secret
from crm_api.settings import Settings


async def check_secrets(settings: Settings) -> list[Check]:
    """Count what is sealed under another key than the present one.

    Raises:
        SettingsError: No database is named, or no key that is given opens what it keeps.
    """
    known = await with_secret(settings, patience=0, adopts=False)
    secret = Secret(known.require_secret_key(), seals=known.secret_keys())
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        session_factory(engine)() as session,
    ):
        return judge_secrets(await resealing.survey(session, secret=secret))


def judge_secrets(found: list[Found]) -> list[Check]:
    """Turn what is sealed under which key into lines."""
    checks = [
        Check("secrets", State.BROKEN, f"{one.unreadable} rows of {one.table} no given key opens")
        for one in found
        if one.unreadable
    ]
    others = sum(one.others for one in found)
    if others:
        advice = f"{others} rows are sealed under another key: run `crm-api database reseal`"
        checks.append(Check("secrets", State.WARNING, advice))
    total = sum(one.current for one in found)
    return checks or [Check("secrets", State.OK, f"{total} rows, all under the present key")]
