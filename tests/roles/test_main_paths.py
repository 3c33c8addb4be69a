"""Run tests of the service's main functions again, with a database role that owns nothing.

The tests are imported from other folders. Here, their connections log in with the role of the
service.
"""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.people.erasure.test_erasure import (  # noqa: F401 - run here, by another role
    _person,
    test_consent_history_keeps_the_decisions_and_still_verifies,
    test_nothing_in_the_database_names_an_erased_person,
)
from tests.routers.people.test_deduplication import (  # noqa: F401 - as above
    test_lists_notes_tasks_and_conversations_move_to_the_primary,
    test_strictest_flag_applies_to_all_numbers,
)
from tests.workers.conftest import ctx  # noqa: F401 - as above
from tests.workers.imports.test_imports import (  # noqa: F401 - as above
    importer,
    test_property_file_creates_two_contacts_per_row,
    test_second_import_of_a_file_changes_nothing,
)
from tests.workers.inbound.test_webhooks import (  # noqa: F401 - as above
    job_uow,
    line_ctx,
    test_whole_backlog_is_applied_in_one_run,
)
from tests.workers.monitoring.test_daily import (  # noqa: F401 - as above
    bench,
    test_digest_reports_the_day_before,
    test_expired_data_is_removed_once_a_day,
)

from crm_api.domain.campaigns.audience import storage
from crm_api.domain.kit import audit_log
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.database_time import date_events


async def test_these_tests_run_as_the_service(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        role = await connection.scalar(text("SELECT current_user"))

    assert role == "limited_service"


async def test_old_audit_entries_are_deleted_although_the_role_may_not_delete(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for days in (300, 500):
        await session.execute(
            text(
                "INSERT INTO audit_log (actor, action, subject, created_at) "
                "VALUES ('a', 'b', '', :at)"
            ),
            {"at": NOW - timedelta(days=days)},
        )

    async with new_uow() as uow:
        removed = await audit_log.clean_up(uow, kept_for=timedelta(0), now=NOW)

    assert removed == 1


async def test_functions_of_the_owner_work_for_the_service(session: AsyncSession) -> None:
    await session.execute(storage.ANALYZE_RECIPIENTS)
    await date_events(session)
    state = await session.scalar(
        text("SELECT tgenabled FROM pg_trigger WHERE tgname = 'date_event_in_sandbox'")
    )

    assert state in ("O", b"O")
