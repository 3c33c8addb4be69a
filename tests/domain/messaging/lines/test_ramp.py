"""A new line's ramp plan: today's limit, and its audit log, with the database."""

from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.lines.test_lines import MIDNIGHT, TIMES
from tests.factories import make_line

from crm_api.domain.kit.audit_log import AuditEntry
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.lines.schemas import CountedLine, LineRead, LineUpdate
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWorkFactory

TODAY = date(2026, 11, 25)


async def change(new_uow: UnitOfWorkFactory, line: Line, changes: LineUpdate) -> CountedLine:
    async with new_uow() as uow:
        return await lines.update_line(
            uow, changes, line_id=line.id, actor="a key", times=TIMES, now=NOW
        )


async def test_days_are_the_lines_own(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    line = await make_line(session, ramp_plan=[20, 40, 80], ramp_started_on=TODAY)
    await session.commit()

    async with new_uow() as uow:
        shown = [
            LineRead.of(
                await lines.get_line(
                    uow, line_id=line.id, times=TIMES, now=MIDNIGHT + timedelta(hours=hours)
                )
            )
            for hours in (0, 23, 24, 48, 72)
        ]

    assert [one.limit_today for one in shown] == [20, 20, 40, 80, 125]
    assert [one.remaining_today for one in shown] == [20, 20, 40, 80, 125]


async def test_plan_that_is_set_starts_again(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    begun = TODAY - timedelta(days=2)
    line = await make_line(session, ramp_plan=[20, 40, 80], ramp_started_on=begun)
    await session.commit()

    named = await change(new_uow, line, LineUpdate(name="Ours"))
    before = (named.line.ramp_started_on, named.limit_today)
    again = await change(new_uow, line, LineUpdate(ramp_plan=[20, 40, 80]))

    assert before == (begun, 80)
    assert (again.line.ramp_started_on, again.limit_today) == (None, 20)


async def test_new_limits_are_in_the_audit_log_with_who_set_them(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    line = await make_line(session)
    await session.commit()

    await change(new_uow, line, LineUpdate(ramp_plan=[20, 40], daily_limit=200))
    await change(new_uow, line, LineUpdate(ramp_plan=[20, 40], daily_limit=200, name="Ours"))

    [entry] = await session.scalars(select(AuditEntry))
    assert (entry.actor, entry.action, entry.subject) == (
        "a key",
        "change_line_limit",
        str(line.id),
    )
    assert entry.detail == {
        "daily_limit": {"from": 125, "to": 200},
        "ramp_plan": {"from": None, "to": [20, 40]},
    }


async def test_plan_begun_again_is_in_the_audit_log(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    line = await make_line(session, ramp_plan=[20], ramp_started_on=TODAY)
    await session.commit()

    await change(new_uow, line, LineUpdate(ramp_plan=[20]))

    [entry] = await session.scalars(select(AuditEntry))
    assert entry.detail == {"ramp_plan": {"from": [20], "to": [20]}}
