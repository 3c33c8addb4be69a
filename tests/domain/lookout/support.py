"""The alerts that stand, and looks at the texts by a clock that the test moves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from tests.domain.sends.ledger import BUSINESS, TIMES

from crm_api.db import UnitOfWork
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.lookout import sends

NewUow = Callable[[], UnitOfWork]
MINUTE = timedelta(minutes=1)


async def standing(new_uow: NewUow) -> dict[str, str]:
    """Kinds and details of the alerts that are not over."""
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


async def look_from(
    new_uow: NewUow, now: datetime, *, minutes: int, rules: RuleBook = NO_RULES
) -> dict[str, str]:
    """Look at the texts each minute; the alerts that stand after the last look."""
    for minute in range(minutes + 1):
        async with new_uow() as uow:
            await sends.look(
                uow, rules=rules, business=BUSINESS, times=TIMES, now=now + minute * MINUTE
            )
    return await standing(new_uow)
