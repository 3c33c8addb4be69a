"""The ramp plan of a new line: today's limit, and the entries in the audit log."""

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


async def change_line(new_uow: UnitOfWorkFactory, line: Line, changes: LineUpdate) -> CountedLine:
    async with new_uow() as uow:
        return await lines.update_line(
            uow, changes, line_id=line.id, actor="a key", times=TIMES, now=NOW
        )


async def test_days_of_the_plan_are_in_the_lines_time_zone(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
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


async def test_plan_that_is_set_again_starts_from_its_first_day(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    begun = TODAY - timedelta(days=2)
    line = await make_line(session, ramp_plan=[20, 40, 80], ramp_started_on=begun)
    await session.commit()

    named = await change_line(new_uow, line, LineUpdate(name="Ours"))
    before = (named.line.ramp_started_on, named.limit_today)
    again = await change_line(new_uow, line, LineUpdate(ramp_plan=[20, 40, 80]))

    assert before == (begun, 80)
    assert (again.line.ramp_started_on, again.limit_today) == (None, 20)


async def test_new_limits_are_in_the_audit_log_with_their_actor(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    line = await make_line(session)
    await session.commit()

    await change_line(new_uow, line, LineUpdate(ramp_plan=[20, 40], daily_limit=200))
    await change_line(new_uow, line, LineUpdate(ramp_plan=[20, 40], daily_limit=200, name="Ours"))

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


async def test_restart_of_the_plan_is_in_the_audit_log(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    line = await make_line(session, ramp_plan=[20], ramp_started_on=TODAY)
    await session.commit()

    await change_line(new_uow, line, LineUpdate(ramp_plan=[20]))

    [entry] = await session.scalars(select(AuditEntry))
    assert entry.detail == {"ramp_plan": {"from": [20], "to": [20]}}
