"""Refused deliveries cause one alert for each reason; the alert contains their number."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.inbound.webhook_events.support import rows
from tests.fakes import RecordingQueue

from crm_api.domain.alerts import service as alerts
from crm_api.domain.provider.openphone.errors import SignatureError
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, create_engine, session_factory
from crm_api.routers.inbound.receiver_watch import WHAT_TO_DO, RefusalAlerts

NewUow = Callable[[], UnitOfWork]


async def test_many_refusals_are_one_alert_per_reason_with_their_count(
    session: AsyncSession, new_uow: NewUow
) -> None:
    refusals = RefusalAlerts(new_uow)
    for _ in range(10_000):
        refusals.note("signature_mismatch")
    refusals.note("signature_stale")

    await refusals.flush()
    await refusals.flush()

    found = await rows(session, "SELECT kind, subject, count, detail FROM alert ORDER BY subject")
    assert [(row["kind"], row["subject"], row["count"]) for row in found] == [
        ("webhook_refused", "signature_mismatch", 10_000),
        ("webhook_refused", "signature_stale", 1),
    ]
    assert "CRM_OPENPHONE_WEBHOOK_SECRETS" in found[0]["detail"]
    assert "(NTP)" in found[1]["detail"]


async def test_count_that_cannot_be_written_is_kept_for_the_next_write(
    session: AsyncSession, new_uow: NewUow
) -> None:
    engine = create_engine("postgresql+asyncpg://postgres@/crm?host=/nowhere")
    unreachable = session_factory(engine)
    database_is_unreachable = [True]

    def create_unit_of_work() -> UnitOfWork:
        return (
            UnitOfWork(unreachable, RecordingQueue()) if database_is_unreachable[0] else new_uow()
        )

    refusals = RefusalAlerts(create_unit_of_work)
    refusals.note("signature_missing")
    await refusals.flush()
    refusals.note("signature_missing")
    database_is_unreachable[0] = False
    await refusals.flush()
    await engine.dispose()

    assert await rows(session, "SELECT count FROM alert") == [{"count": 2}]


async def test_task_writes_the_remaining_counts_at_its_end(
    session: AsyncSession, new_uow: NewUow
) -> None:
    refusals = RefusalAlerts(new_uow, gather_seconds=3600)
    await refusals.start()
    refusals.note("signature_malformed")
    await refusals.close()

    assert await rows(session, "SELECT count FROM alert") == [{"count": 1}]


async def test_alert_is_resolved_after_an_hour_without_a_refusal(
    session: AsyncSession, new_uow: NewUow
) -> None:
    refusals = RefusalAlerts(new_uow)
    refusals.note("signature_stale")
    await refusals.flush()
    for minutes in (55, 65):
        async with new_uow() as uow:
            await alerts.resolve_silent_alerts(uow, now=clock.now() + timedelta(minutes=minutes))

    (alert,) = await rows(session, "SELECT resolved_at - last_seen_at AS silence FROM alert")
    assert alert["silence"] > timedelta(hours=1)


@pytest.mark.parametrize("error", SignatureError.__subclasses__())
def test_every_reason_says_what_to_do(error: type[SignatureError]) -> None:
    assert error.code in WHAT_TO_DO
