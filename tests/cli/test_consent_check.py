"""Tests of how `crm-api doctor` checks the consent history, with a real database."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.domain.messaging.consent_decisions.test_consent import stop_decision

from crm_api.cli.doctor_checks import State
from crm_api.cli.doctor_database_checks import check_consent
from crm_api.domain.consent import linking
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings


async def decide(new_uow: UnitOfWorkFactory, settings: Settings, *, times: int) -> None:
    secret = settings.require_secret_key()
    long_ago = clock.now() - timedelta(hours=1)
    async with new_uow() as uow:
        for _ in range(times):
            await consent.opt_out(uow, **stop_decision(secret=secret, now=long_ago))
    async with new_uow() as uow:
        await linking.link_entries(uow, secret=secret)


async def tamper(new_uow: UnitOfWorkFactory, statement: str) -> None:
    async with new_uow() as uow:
        await uow.session.execute(text("SET LOCAL session_replication_role = replica"))
        await uow.session.execute(text(statement))


async def test_empty_chain_and_correct_chain_are_ok(
    committed_uow: UnitOfWorkFactory, settings: Settings
) -> None:
    [empty] = await check_consent(settings)
    await decide(committed_uow, settings, times=5)
    [correct] = await check_consent(settings)

    assert (empty.state, correct.state) == (State.OK, State.OK)
    assert empty.advice == "all 0 links of the consent history are correct"
    assert correct.advice.startswith("all 5 links of the consent history are correct; the last is ")


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("UPDATE consent_entry SET actor = 'x' WHERE id = {id}", "Entry {id} (link 2)"),
        ("DELETE FROM consent_entry WHERE id = {id}", "Entry {id} (link 2) was removed"),
        ("DELETE FROM consent_link WHERE entry_id >= {id}", "Entry {id} has no link"),
        ("UPDATE consent_wording SET note = 'x' WHERE entry_id = {id}", "The words of entry {id}"),
    ],
)
async def test_changed_entry_is_reported_as_broken(
    committed_uow: UnitOfWorkFactory, settings: Settings, change: str, advice: str
) -> None:
    await decide(committed_uow, settings, times=2)
    async with committed_uow() as uow:
        entry_id = await uow.session.scalar(text("SELECT max(id) FROM consent_entry"))

    await tamper(committed_uow, change.format(id=entry_id))

    [check] = await check_consent(settings)
    assert check.state is State.BROKEN
    assert check.advice.startswith(advice.format(id=entry_id))


async def test_many_faults_are_counted_and_only_some_are_listed(
    committed_uow: UnitOfWorkFactory, settings: Settings
) -> None:
    await decide(committed_uow, settings, times=30)

    await tamper(committed_uow, "UPDATE consent_entry SET actor = 'x'")

    checks = await check_consent(settings)
    assert len(checks) == linking.SHOWN_FINDINGS + 1
    assert checks[-1].advice == "there are 10 more faults of the history"


async def test_changed_secret_key_is_a_warning_that_names_the_cause(
    committed_uow: UnitOfWorkFactory, settings: Settings
) -> None:
    await decide(committed_uow, settings, times=3)
    other = Settings.from_env(
        {
            "CRM_DATABASE_URL": settings.require_database_url(),
            "CRM_SECRET_KEY": "another secret key of 32 characters",
        }
    )

    [check] = await check_consent(other)

    assert check.state is State.WARNING
    assert "3 of 3 links cannot be verified" in check.advice
