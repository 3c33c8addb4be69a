"""Helpers that read open alerts, and check sending at instants that the test chooses."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from tests.domain.messaging.sends.ledger import BUSINESS, TIMES

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.monitoring.watchdog import sends
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
MINUTE = timedelta(minutes=1)


async def open_alerts(new_uow: NewUow) -> dict[str, str]:
    """Return the details of unresolved alerts, by kind."""
    async with new_uow() as uow:
        found = await uow.session.execute(
            text("SELECT kind, detail FROM alert WHERE resolved_at IS NULL ORDER BY kind, subject")
        )
        return {row.kind: row.detail for row in found}


async def alert(new_uow: NewUow, kind: str) -> Any:
    async with new_uow() as uow:
        return (
            await uow.session.execute(
                text("SELECT * FROM alert WHERE kind = :kind"), {"kind": kind}
            )
        ).one()


async def check_each_minute(
    new_uow: NewUow, now: datetime, *, minutes: int, rules: RuleBook = NO_RULES
) -> dict[str, str]:
    """Check every minute whether messages are sent; return the alerts that are open at the end."""
    for minute in range(minutes + 1):
        async with new_uow() as uow:
            await sends.check_sending(
                uow, rules=rules, business=BUSINESS, times=TIMES, now=now + minute * MINUTE
            )
    return await open_alerts(new_uow)
