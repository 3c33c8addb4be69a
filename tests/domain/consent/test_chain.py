"""The hash chain over the consent history shows every later change of an entry.

A job links new entries to the chain in batches.
"""

import asyncio
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.consent_decisions.test_consent import PHONE, SECRET, stop_decision
from tests.fakes import RecordingQueue

from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.consent.models import ConsentEntry, ConsentLink, ConsentUnlinked, ConsentWording
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

LATER = NOW + timedelta(minutes=6)


async def record_decisions(new_uow: UnitOfWorkFactory, *, times: int = 3) -> None:
    async with new_uow() as uow:
        for position in range(times):
            await consent.opt_out(
                uow, **stop_decision(reason=f"word {position}", evidence={"n": position})
            )


async def link(new_uow: UnitOfWorkFactory, *, secret: bytes = SECRET) -> None:
    async with new_uow() as uow:
        await linking.link_entries(uow, secret=secret)


async def verify(new_uow: UnitOfWorkFactory, *, secret: bytes = SECRET) -> ChainVerification:
    found = ChainVerification()
    async with new_uow() as uow:
        while await linking.verify_links(uow.session, found, secret=secret):
            pass
        await linking.verify_tail(uow.session, found, now=LATER)
    return found


async def tamper(new_uow: UnitOfWorkFactory, statement: str) -> None:
    """Change tables while their triggers are off, as a person with full database access can do."""
    async with new_uow() as uow:
        await uow.session.execute(text("SET LOCAL session_replication_role = replica"))
        await uow.session.execute(text(statement))
        await uow.session.execute(text("SET LOCAL session_replication_role = origin"))


async def links(session: AsyncSession) -> list[ConsentLink]:
    return list(await session.scalars(select(ConsentLink).order_by(ConsentLink.position)))


async def test_entries_are_linked_in_order_and_pass_the_check(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow)

    await link(new_uow)

    made = await links(session)
    entries = list(await session.scalars(select(ConsentEntry.id).order_by(ConsentEntry.id)))
    found = await verify(new_uow)
    assert [(one.position, one.entry_id) for one in made] == list(enumerate(entries, start=1))
    assert (found.faults, found.position, found.head) == (0, 3, made[-1].digest)
    assert not list(await session.scalars(select(ConsentUnlinked)))


async def test_decision_requests_the_job(new_uow: UnitOfWorkFactory, queue: RecordingQueue) -> None:
    await record_decisions(new_uow, times=2)

    assert queue.names.count(JobName.SEAL_CONSENT) == 1


async def test_second_run_changes_nothing(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)

    async with new_uow() as uow:
        has_more = await linking.link_entries(uow, secret=SECRET)

    assert not has_more
    assert len(await links(session)) == 3


async def test_later_entries_continue_the_chain(new_uow: UnitOfWorkFactory) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    await record_decisions(new_uow)

    await link(new_uow)

    found = await verify(new_uow)
    assert (found.faults, found.position) == (0, 6)


async def test_entry_that_commits_late_is_linked_when_it_is_visible(
    committed_uow: UnitOfWorkFactory,
) -> None:
    """Test an entry that commits late and has a lower id than an entry that is already linked."""
    async with committed_uow() as slow:
        await consent.opt_out(slow, **stop_decision())
        async with committed_uow() as fast:
            await consent.opt_out(fast, **stop_decision(phone="+16175550199"))
        await link(committed_uow)
    await link(committed_uow)

    async with committed_uow() as uow:
        order = [one.entry_id for one in await links(uow.session)]
    found = await verify(committed_uow)
    assert order == sorted(order, reverse=True)
    assert len(order) == 2
    assert found.faults == 0


async def test_concurrent_jobs_make_one_chain(committed_uow: UnitOfWorkFactory) -> None:
    await record_decisions(committed_uow, times=20)

    await asyncio.gather(*(link(committed_uow) for _ in range(4)))

    found = await verify(committed_uow)
    assert (found.faults, found.position) == (0, 20)


async def test_links_are_append_only(new_uow: UnitOfWorkFactory) -> None:
    await record_decisions(new_uow)
    await link(new_uow)

    for statement in ("UPDATE consent_link SET digest = ''", "DELETE FROM consent_link"):
        async with new_uow() as uow:
            with pytest.raises(DBAPIError, match="append-only"):
                async with uow.session.begin_nested():
                    await uow.session.execute(text(statement))


async def entry_ids(session: AsyncSession) -> list[int]:
    return list(await session.scalars(select(ConsentEntry.id).order_by(ConsentEntry.id)))


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'another person'",
        "action = 'opt_in'",
        "occurred_at = occurred_at + interval '1 microsecond'",
        "contact_id = gen_random_uuid()",
        "phone_hash = sha256('other')",
        "wording_digest = NULL",
    ],
)
async def test_changed_entry_is_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession, change: str
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    _, second, _ = await entry_ids(session)

    await tamper(new_uow, f"UPDATE consent_entry SET {change} WHERE id = {second}")

    found = await verify(new_uow)
    assert found.faults == 1
    assert f"Entry {second} (link 2) was changed" in found.findings[0]


@pytest.mark.parametrize("change", ["claimed_at + interval '1 microsecond'", "NULL"])
async def test_changed_claimed_time_is_reported(new_uow: UnitOfWorkFactory, change: str) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision(claimed_at=NOW))
    await link(new_uow)
    before = await verify(new_uow)

    await tamper(new_uow, f"UPDATE consent_entry SET claimed_at = {change}")

    assert (before.faults, (await verify(new_uow)).faults) == (0, 1)


async def test_link_of_the_previous_release_without_the_claimed_time_is_valid(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test that a link which does not include the claimed time of its entry is valid.

    During an upgrade, a worker of the previous release makes such links for entries of this
    release.
    """
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())
    await link(new_uow)

    await tamper(new_uow, "UPDATE consent_entry SET claimed_at = created_at")

    assert (await verify(new_uow)).faults == 0


async def test_removed_entry_is_reported(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    _, second, _ = await entry_ids(session)

    await tamper(new_uow, f"DELETE FROM consent_entry WHERE id = {second}")

    found = await verify(new_uow)
    assert found.findings == [f"Entry {second} (link 2) was removed."]


async def test_entry_removed_with_its_link_is_reported_as_a_gap(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    _, second, third = await entry_ids(session)

    await tamper(new_uow, f"DELETE FROM consent_link WHERE entry_id = {second}")
    await tamper(new_uow, f"DELETE FROM consent_entry WHERE id = {second}")

    found = await verify(new_uow)
    assert found.findings[0] == "Links 2 to 2 and their entries were removed."
    assert f"Entry {third} (link 3) was changed, or its link does not follow" in found.findings[1]


async def test_renumbered_link_after_a_removal_is_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    _, second, third = await entry_ids(session)

    await tamper(new_uow, f"DELETE FROM consent_link WHERE entry_id = {second}")
    await tamper(new_uow, f"DELETE FROM consent_entry WHERE id = {second}")
    await tamper(new_uow, f"UPDATE consent_link SET position = 2 WHERE entry_id = {third}")

    found = await verify(new_uow)
    assert [f"Entry {third} (link 2)" in finding for finding in found.findings] == [True]


async def test_links_in_another_order_are_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    _, second, third = await entry_ids(session)

    await tamper(new_uow, "UPDATE consent_link SET position = position + 10 WHERE position > 1")
    await tamper(new_uow, f"UPDATE consent_link SET position = 3 WHERE entry_id = {second}")
    await tamper(new_uow, f"UPDATE consent_link SET position = 2 WHERE entry_id = {third}")

    found = await verify(new_uow)
    assert found.faults == 2
    assert str(third) in found.findings[0]
    assert str(second) in found.findings[1]


async def test_removed_end_of_the_chain_is_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    *_, third = await entry_ids(session)

    await tamper(new_uow, "DELETE FROM consent_link WHERE position = 3")

    found = await verify(new_uow)
    assert found.findings == [f"Entry {third} has no link, so the end of the chain was removed."]


async def test_new_entry_may_wait_for_its_link(new_uow: UnitOfWorkFactory) -> None:
    await record_decisions(new_uow)

    found = ChainVerification()
    async with new_uow() as uow:
        await linking.verify_tail(uow.session, found, now=NOW + timedelta(minutes=5))

    assert found.faults == 0


@pytest.mark.parametrize(
    "change",
    [
        "note = 'never said'",
        "phone = '+16175550111'",
        "evidence = '{}'",
        "salt = ''",
        "salt = NULL",
    ],
)
async def test_changed_wording_is_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession, change: str
) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    first, *_ = await entry_ids(session)

    await tamper(new_uow, f"UPDATE consent_wording SET {change} WHERE entry_id = {first}")

    found = await verify(new_uow)
    assert found.findings == [f"The words of entry {first} were changed after it was stored."]


async def test_chain_is_verified_to_its_end_page_by_page(
    new_uow: UnitOfWorkFactory, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "VERIFIED_AT_ONCE", 2)
    await record_decisions(new_uow, times=5)
    await link(new_uow)
    *_, last = await entry_ids(session)

    await tamper(new_uow, f"UPDATE consent_wording SET reason = 'x' WHERE entry_id = {last}")

    found = await verify(new_uow)
    assert found.position == 5
    assert found.findings == [f"The words of entry {last} were changed after it was stored."]


async def test_erased_wording_is_not_a_fault(new_uow: UnitOfWorkFactory) -> None:
    await record_decisions(new_uow)
    await link(new_uow)

    async with new_uow() as uow:
        await uow.session.execute(text("DELETE FROM consent_wording"))

    found = await verify(new_uow)
    assert (found.faults, found.erased) == (0, 3)


async def test_links_under_another_secret_key_are_not_faults(new_uow: UnitOfWorkFactory) -> None:
    await record_decisions(new_uow)
    await link(new_uow)
    await record_decisions(new_uow)
    await link(new_uow, secret=b"the key after a rotation")

    with_old = await verify(new_uow)
    with_new = await verify(new_uow, secret=b"the key after a rotation")

    assert (with_old.faults, with_old.other_keys) == (0, 3)
    assert (with_new.faults, with_new.other_keys) == (0, 3)


async def test_link_forged_without_the_key_is_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    await record_decisions(new_uow, times=1)
    await link(new_uow)
    [genuine] = await links(session)

    await link(new_uow, secret=b"a guess")
    await tamper(new_uow, "UPDATE consent_link SET digest = sha256('x')")

    found = await verify(new_uow)
    assert found.faults == 1
    assert f"Entry {genuine.entry_id} (link 1)" in found.findings[0]


async def test_digest_can_be_computed_from_its_documentation(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    """Test that the documented steps give the stored digest.

    The test follows the documentation and uses no code of the chain.
    """
    await record_decisions(new_uow, times=1)
    await link(new_uow)

    [made] = await links(session)
    entry = (await session.scalars(select(ConsentEntry))).one()
    wording = (await session.scalars(select(ConsentWording))).one()
    words = json.dumps([PHONE, "word 0", None, None, wording.evidence], separators=(", ", ": "))
    salt = wording.salt or b""
    assert len(salt) == 32
    assert entry.wording_digest == hashlib.sha256(salt + words.encode()).digest()
    at = "2026-11-25T15:00:00.000000+00:00"
    written = (
        f'["consent entry 1",{entry.id},"{entry.phone_hash.hex()}",null,"opt_out","message",'
        f'"person",null,"{at}","{at}","{entry.wording_digest.hex()}"]'
    )
    key = hmac.digest(SECRET, b"crm-api consent chain", "sha256")
    assert made.digest == hmac.digest(key, bytes(32) + written.encode(), "sha256")


async def test_equal_wordings_have_different_digests(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())
        await consent.opt_out(uow, **stop_decision())

    digests = set(await session.scalars(select(ConsentEntry.wording_digest)))
    assert len(digests) == 2
