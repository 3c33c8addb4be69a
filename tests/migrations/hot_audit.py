"""Queries on the audit log that must use an index."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.hot import PLACE, Hot

from crm_api.domain.kit import audit_log
from crm_api.domain.kit.audit_log import AuditFilter

FORGET = text("SELECT prosrc FROM pg_proc WHERE proname = 'forget_audit_entries'")


async def _forget(session: AsyncSession) -> None:
    """Run the body of the database function alone, because the plan of a call does not show it."""
    connection = await session.connection()
    body = str(await connection.scalar(FORGET))
    await connection.exec_driver_sql(body.strip(), (NOW - timedelta(days=365), 100))


def _page(name: str, index: str, wanted: AuditFilter) -> Hot:
    return Hot(
        f"the audit log by {name}",
        {f"idx_audit_log_{index}"},
        lambda s: audit_log.fetch_entries(s, wanted, after=(PLACE[0], 5), limit=51),
    )


AUDIT = (
    _page("time", "created", AuditFilter()),
    _page("actor", "actor", AuditFilter(actor="key5")),
    _page("the actor's id", "actor_id", AuditFilter(actor_id="id5")),
    _page("act", "act", AuditFilter(action="act5")),
    _page("subject", "subject", AuditFilter(subject="x5")),
    Hot(
        "entries of the audit log that are too old",
        {"idx_audit_log_created"},
        _forget,
    ),
)
