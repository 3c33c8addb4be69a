"""Keeps a restored database from sending what has left since its backup was made.

The schema's revision is written only with this, in one transaction: until then no process starts
on the database. The statements use nothing that the first releases lacked.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.backups.manifest import Manifest
from crm_api.db import UnitOfWork, session_factory
from crm_api.domain.campaigns.restored import RESTORED
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.reconciliation import service as reconciliation
from crm_api.domain.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.schemas import format_instant
from crm_api.signing import NO_QUEUE

ALERT = AlertKind.RESTORED

_PAUSE = text("""
    UPDATE campaign
    SET status = 'paused', paused_reason = :reason, paused_evidence = :evidence, updated_at = :now
    WHERE status IN ('scheduled', 'running')
       OR (status = 'paused' AND finished_at IS NULL)
""").bindparams(bindparam("evidence", type_=JSONB))
_STOP_WAITING = text("""
    UPDATE activity SET status = 'failed', error_code = 'restored', updated_at = :now
    WHERE status = 'queued'
""")
# Claimed then may have been called since: the provider is asked, from the backup on.
_DOUBT_CLAIMS = text("""
    UPDATE send_attempt
    SET status = 'calling', called_at = coalesce(called_at, :made_at), lease_until = :made_at,
        updated_at = :now
    WHERE is_open AND status = 'claimed'
""")
_SET_REVISION = text("INSERT INTO alembic_version (version_num) VALUES (:revision)")


@dataclass(frozen=True, kw_only=True)
class Held:
    """How much was kept from leaving."""

    paused: int
    not_sent: int


async def close(engine: AsyncEngine, manifest: Manifest, *, now: datetime) -> Held:
    """Pause what would send, and let processes start."""
    evidence = {
        "sentence": (
            f"The database was restored from a backup of {format_instant(manifest.made_at)}. Once "
            "a reconciliation has brought what was sent since, resume it; whoever got a text "
            "meanwhile is then put in review."
        ),
        "backup_made_at": format_instant(manifest.made_at),
        "restored_at": format_instant(now),
    }
    times = {"made_at": manifest.made_at, "now": now}
    async with engine.begin() as connection:
        paused = await connection.execute(
            _PAUSE, {"reason": RESTORED, "evidence": evidence, "now": now}
        )
        not_sent = await connection.execute(_STOP_WAITING, {"now": now})
        await connection.execute(_DOUBT_CLAIMS, times)
        await connection.execute(_SET_REVISION, {"revision": manifest.revision})
    return Held(paused=paused.rowcount, not_sent=not_sent.rowcount)


async def ask_the_provider(engine: AsyncEngine, manifest: Manifest, *, now: datetime) -> None:
    """Order the reconciliation of all since the backup, and tell what to do after it."""
    since = manifest.made_at - reconciliation.OVERLAP
    async with UnitOfWork(session_factory(engine), NO_QUEUE) as uow:
        await reconciliation.request(uow, ReconciliationCreate(since=since), now=now)
        await operations.raise_alert(
            uow,
            kind=ALERT,
            subject="database",
            detail=(
                f"The database was restored from a backup of {format_instant(manifest.made_at)}. "
                "A reconciliation brings what happened since; then resume the campaigns that are "
                "paused for it, and acknowledge this."
            ),
            context={"backup_made_at": format_instant(manifest.made_at)},
            now=now,
        )
