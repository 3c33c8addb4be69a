"""Pause all sending in a restored database, so that no message is sent a second time.

The database lacks the messages that were sent after the backup. One transaction pauses the sending
and stores the schema revision. The service cannot start without the revision, so it cannot start
before the pause. The pause comes before the migration to the schema of this release. So its SQL
statements use only columns that exist in every release.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.reconciliation import runs as reconciliation
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging import waiting
from crm_api.domain.messaging.sends.vocabulary import PauseReason
from crm_api.domain.monitoring.backups.archive import Manifest
from crm_api.platform.database import UnitOfWork, session_factory

ALERT = AlertKind.RESTORED

_PAUSE = text("""
    UPDATE campaign
    SET status = 'paused', paused_reason = :reason, paused_evidence = :evidence, updated_at = :now
    WHERE status IN ('scheduled', 'running', 'blocked')
       OR (status = 'paused' AND finished_at IS NULL)
""").bindparams(bindparam("evidence", type_=JSONB))
_STOP_WAITING = text("""
    UPDATE activity SET status = 'failed', error_code = 'restored', updated_at = :now
    WHERE status = 'queued'
    RETURNING CASE WHEN origin = 'manual' THEN conversation_id END
""")
# If an attempt was claimed (reserved by a worker) when the backup was made, its message may have
# been sent after the backup. So the attempt gets the status "calling" and an expired lease. Then a
# worker looks the message up at the provider.
_DOUBT_CLAIMS = text("""
    UPDATE send_attempt
    SET status = 'calling', called_at = coalesce(called_at, :made_at), lease_until = :made_at,
        updated_at = :now
    WHERE is_open AND status = 'claimed'
""")
_SET_REVISION = text("INSERT INTO alembic_version (version_num) VALUES (:revision)")


@dataclass(frozen=True, kw_only=True)
class PausedSending:
    """What was stopped in a restored database.

    Attributes:
        campaigns: The number of paused campaigns; a user must resume them.
        messages: The number of queued messages that will not be sent.
    """

    campaigns: int
    messages: int


async def pause_sending(engine: AsyncEngine, manifest: Manifest, *, now: datetime) -> PausedSending:
    """Stop everything that a restored service would send.

    Campaigns are paused, and queued messages fail. If an attempt was claimed when the backup was
    made, its message may have been sent after the backup. So the attempt gets the status
    ``calling``, and a worker then looks up its message at the provider. One transaction makes all
    these changes and stores the schema revision, without which the service cannot start.
    """
    evidence = {
        "sentence": (
            f"The database was restored from a backup of {format_instant(manifest.made_at)}. Wait "
            "until a reconciliation has added the messages that were sent after the backup, then "
            "resume the campaign. Recipients who got a message in that time are put in review."
        ),
        "backup_made_at": format_instant(manifest.made_at),
        "restored_at": format_instant(now),
    }
    times = {"made_at": manifest.made_at, "now": now}
    async with engine.begin() as connection:
        paused = await connection.execute(
            _PAUSE, {"reason": PauseReason.RESTORED, "evidence": evidence, "now": now}
        )
        not_sent = (await connection.scalars(_STOP_WAITING, {"now": now})).all()
        unanswered = {"ids": sorted(one for one in set(not_sent) if one is not None)}
        await connection.execute(waiting.LOCK, unanswered)
        await connection.execute(waiting.DERIVE, {**unanswered, "now": now})
        await connection.execute(_DOUBT_CLAIMS, times)
        await connection.execute(_SET_REVISION, {"revision": manifest.revision})
    return PausedSending(campaigns=paused.rowcount, messages=len(not_sent))


async def request_reconciliation(engine: AsyncEngine, manifest: Manifest, *, now: datetime) -> None:
    """Request a comparison with the provider's data (a reconciliation), and raise an alert.

    The comparison covers the time from shortly before the backup was made until now.
    """
    since = manifest.made_at - reconciliation.OVERLAP
    async with UnitOfWork(session_factory(engine), NO_QUEUE) as uow:
        await reconciliation.request_run(uow, ReconciliationCreate(since=since), now=now)
        await alerts.raise_alert(
            uow,
            kind=ALERT,
            subject="database",
            detail=(
                f"The database was restored from a backup of {format_instant(manifest.made_at)}. "
                "A reconciliation now adds what happened after the backup. Wait until it has "
                "completed (GET /v1/reconciliation-runs), then resume the paused campaigns and "
                "acknowledge this alert."
            ),
            context={"backup_made_at": format_instant(manifest.made_at)},
            now=now,
        )
