"""Lines in the database: create, change, unblock, list, count and read from the provider."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_line, number
from tests.fakes import RecordingQueue

from crm_api.domain.alerts import service as operations
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import Alert
from crm_api.domain.kit.audit_log import AuditEntry
from crm_api.domain.kit.paging import InvalidCursorError
from crm_api.domain.messaging.lines import provider_lines
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.lines.errors import (
    LineExistsError,
    LineNotFoundError,
    LinesUnreadableError,
    ZoneUnknownToDatabaseError,
)
from crm_api.domain.messaging.lines.schemas import CountedLine, LineCreate, LineRead, LineUpdate
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import AttemptStatus, SendAttempt
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
    UnreadableEventError,
)
from crm_api.domain.provider.openphone.facts import OwnNumber
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName

NUMBER = "+16175550100"
TIMES = SendTimes(
    lease=timedelta(seconds=60),
    call_start=timedelta(seconds=1),
    call_timeout=timedelta(seconds=15),
    grace=timedelta(seconds=600),
    look_gap=timedelta(seconds=60),
    skew=timedelta(seconds=2),
)
MIDNIGHT = datetime.fromisoformat("2026-11-25T00:00:00-05:00")
"""The instant at which the day of the line begins."""


class Workspace:
    """A fake provider that lists ``numbers``, or raises ``failure``."""

    def __init__(self, *numbers: OwnNumber, failure: Exception | None = None) -> None:
        self.numbers = list(numbers)
        self.failure = failure

    async def list_phone_numbers(self) -> list[OwnNumber]:
        if self.failure is not None:
            raise self.failure
        return self.numbers


def own_number(
    phone_number_id: str, line_number: str = NUMBER, name: str | None = "Main"
) -> OwnNumber:
    return OwnNumber(
        phone_number_id=phone_number_id,
        number=line_number,
        name=name,
    )


async def add_line(new_uow: UnitOfWorkFactory, **values: object) -> CountedLine:
    body = LineCreate.model_validate({"phone_number_id": "PN1", "number": NUMBER, **values})
    async with new_uow() as uow:
        return await lines.create_line(uow, body, resend_unclear=False, times=TIMES, now=NOW)


async def sync(new_uow: UnitOfWorkFactory, *numbers: OwnNumber) -> list[CountedLine]:
    found = await provider_lines.read_provider_numbers(Workspace(*numbers))
    async with new_uow() as uow:
        return await provider_lines.store_lines(
            uow, found, resend_unclear=False, times=TIMES, now=NOW
        )


async def test_new_line_has_the_default_settings(new_uow: UnitOfWorkFactory) -> None:
    shown = LineRead.of(await add_line(new_uow))

    assert (shown.name, shown.daily_limit, shown.timezone) == (NUMBER, 125, "America/New_York")
    assert (shown.status, shown.blocked_reason, shown.resend_unclear) == ("active", None, False)
    assert (shown.sent_today, shown.remaining_today) == (0, 125)


async def test_known_provider_id_is_refused_and_the_error_names_its_line(
    new_uow: UnitOfWorkFactory,
) -> None:
    added = await add_line(new_uow)

    with pytest.raises(LineExistsError) as refusal:
        await add_line(new_uow, number="+16175550101")

    assert refusal.value.extras == {"line_id": str(added.line.id)}


async def test_zone_that_the_database_does_not_know_is_refused(
    new_uow: UnitOfWorkFactory,
) -> None:
    body = LineCreate(phone_number_id="PN1", number=NUMBER).model_copy(
        update={"timezone": "America/Atlantis"}
    )

    async with new_uow() as uow:
        with pytest.raises(ZoneUnknownToDatabaseError):
            await lines.create_line(uow, body, resend_unclear=True, times=TIMES, now=NOW)


async def test_change_keeps_the_other_fields_and_nudges_the_queue(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    added = await add_line(new_uow, name="Main", daily_limit=10)

    async with new_uow() as uow:
        found = await lines.update_line(
            uow,
            LineUpdate(daily_limit=0, timezone="America/Chicago"),
            line_id=added.line.id,
            actor="a key",
            times=TIMES,
            now=NOW,
        )

    assert (found.line.name, found.line.daily_limit) == ("Main", 0)
    assert found.line.timezone == "America/Chicago"
    assert JobName.PROCESS_CAMPAIGN_QUEUE in queue.names


async def test_empty_change_changes_nothing(new_uow: UnitOfWorkFactory) -> None:
    added = await add_line(new_uow)

    async with new_uow() as uow:
        found = await lines.update_line(
            uow,
            LineUpdate(),
            line_id=added.line.id,
            actor="a key",
            times=TIMES,
            now=NOW + timedelta(hours=1),
        )

    assert found.line.updated_at == NOW


async def test_unblocked_line_is_active_and_nudges_the_queues(
    new_uow: UnitOfWorkFactory, session: AsyncSession, queue: RecordingQueue
) -> None:
    line = await make_line(session, status="blocked", blocked_reason="no credits", blocked_at=NOW)
    await session.commit()

    async with new_uow() as uow:
        found = await lines.unblock_line(uow, line_id=line.id, actor="a key", times=TIMES, now=NOW)

    [entry] = await session.scalars(select(AuditEntry))
    assert (found.line.status, found.line.blocked_reason) == ("active", None)
    assert found.line.blocked_at is None
    assert (entry.action, entry.actor) == ("unblock_line", "a key")
    assert set(queue.names) == {JobName.PROCESS_CAMPAIGN_QUEUE, JobName.SEND_MESSAGES}


async def test_unblock_ends_the_wait_the_trial_and_the_alert(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    blocked = await make_line(session, status="blocked", probes=4, probe_at=NOW)
    on_trial = await make_line(
        session, phone_number_id="PNother", is_probing=True, probes=4, probe_at=NOW
    )
    await session.commit()

    async with new_uow() as uow:
        for line in (blocked, on_trial):
            await operations.raise_alert(
                uow, kind=AlertKind.LINE_BLOCKED, subject=str(line.id), detail="x", now=NOW
            )
        found = [
            await lines.unblock_line(uow, line_id=line.id, actor="a key", times=TIMES, now=NOW)
            for line in (blocked, on_trial)
        ]

    alerts = await session.scalars(select(Alert))
    assert {(one.line.status, one.line.probes) for one in found} == {("active", 0)}
    assert {(one.line.is_probing, one.line.probe_at) for one in found} == {(False, None)}
    assert {alert.resolved_at for alert in alerts} == {NOW}


async def test_unblock_of_an_active_line_changes_nothing(
    new_uow: UnitOfWorkFactory, session: AsyncSession, queue: RecordingQueue
) -> None:
    added = await add_line(new_uow)

    async with new_uow() as uow:
        await lines.unblock_line(uow, line_id=added.line.id, actor="a key", times=TIMES, now=NOW)

    assert list(await session.scalars(select(AuditEntry))) == []
    assert queue.names == []


async def test_unknown_line_is_not_found(new_uow: UnitOfWorkFactory) -> None:
    unknown_id = new_id()
    async with new_uow() as uow:
        for attempt in (
            lines.get_line(uow, line_id=unknown_id, times=TIMES, now=NOW),
            lines.update_line(
                uow, LineUpdate(name="x"), line_id=unknown_id, actor="x", times=TIMES, now=NOW
            ),
            lines.unblock_line(uow, line_id=unknown_id, actor="x", times=TIMES, now=NOW),
        ):
            with pytest.raises(LineNotFoundError):
                await attempt


async def test_lines_are_listed_newest_first_in_pages(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    for position in range(3):
        await make_line(
            session,
            phone_number_id=f"PN{position}",
            now=NOW + timedelta(minutes=position),
        )
    await session.commit()

    async with new_uow() as uow:
        first = await lines.list_lines(uow, cursor=None, limit=2, times=TIMES, now=NOW)
        second = await lines.list_lines(
            uow, cursor=first.next_cursor, limit=2, times=TIMES, now=NOW
        )
        with pytest.raises(InvalidCursorError):
            await lines.list_lines(uow, cursor="x", limit=2, times=TIMES, now=NOW)

    assert [one.line.phone_number_id for one in first.data + second.data] == ["PN2", "PN1", "PN0"]
    assert second.next_cursor is None


async def test_todays_messages_are_counted_in_the_lines_time_zone(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    line = await make_line(session, daily_limit=3)
    attempts: list[tuple[AttemptStatus, datetime | None, datetime | None]] = [
        (AttemptStatus.SENT, MIDNIGHT, None),
        (AttemptStatus.DELIVERED, MIDNIGHT - timedelta(seconds=1), None),  # accepted yesterday
        (AttemptStatus.CLAIMED, None, None),
        (AttemptStatus.CALLING, None, NOW),
        # The window of an attempt ends 600 s after its call. So the window of the next attempt
        # reaches into today, and that of the attempt after it does not.
        (AttemptStatus.PARKED, None, MIDNIGHT - timedelta(seconds=599)),
        (AttemptStatus.NOT_FOUND, None, MIDNIGHT - timedelta(seconds=601)),
        (AttemptStatus.RELEASED, None, None),
        (AttemptStatus.REFUSED, None, NOW),
    ]
    for position, (status, accepted_at, called_at) in enumerate(attempts):
        session.add(
            SendAttempt(
                line_id=line.id,
                activity_id=new_id(),
                phone=number(position),
                body="Hi",
                status=status,
                accepted_at=accepted_at,
                called_at=called_at,
                created_at=NOW,
                updated_at=NOW,
            )
        )
    await session.commit()

    async with new_uow() as uow:
        shown = LineRead.of(await lines.get_line(uow, line_id=line.id, times=TIMES, now=NOW))

    assert (shown.sent_today, shown.remaining_today) == (4, 0)


async def test_sync_adds_lines_and_keeps_our_own_settings(new_uow: UnitOfWorkFactory) -> None:
    added = await add_line(new_uow, name="Ours", daily_limit=7)

    found = await sync(
        new_uow,
        own_number("PN1", "+16175550109", "Theirs"),
        own_number("PN2", "+16175550102", None),
        own_number("PN2", "+16175550102", None),
    )

    known = {one.line.phone_number_id: one.line for one in found}
    assert known.keys() == {"PN1", "PN2"}
    assert known["PN1"].id == added.line.id
    assert (known["PN1"].name, known["PN1"].daily_limit) == ("Ours", 7)
    assert known["PN1"].number == "+16175550109"
    assert (known["PN2"].name, known["PN2"].resend_unclear) == ("+16175550102", False)


async def test_sync_of_an_empty_workspace_adds_no_line(new_uow: UnitOfWorkFactory) -> None:
    assert await sync(new_uow) == []


@pytest.mark.parametrize(
    "failure",
    [
        lambda: OpenPhoneBusyError("429"),
        lambda: OpenPhoneRefusedError("no", status=401),
        lambda: OpenPhoneListError("again"),
        lambda: UnreadableEventError("no id"),
    ],
)
async def test_failure_to_list_the_provider_numbers_is_raised_as_unreadable(
    failure: Callable[[], Exception],
) -> None:
    with pytest.raises(LinesUnreadableError, match="OpenPhone"):
        await provider_lines.read_provider_numbers(Workspace(failure=failure()))


async def test_unknown_line_is_added_once_when_its_number_is_reported(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    async with new_uow() as uow:
        without = await lines.ensure_line(uow, phone_number_id="PN1", number=None, now=NOW)
        added = await lines.ensure_line(uow, phone_number_id="PN1", number=NUMBER, now=NOW)
        again = await lines.ensure_line(uow, phone_number_id="PN1", number=NUMBER, now=NOW)
        by_id = await lines.find_line_by_provider_id(uow, phone_number_id="PN1")
        by_number = await lines.find_line_by_number(uow, numbers=["+16175550999", NUMBER])
        unknown = await lines.find_line_by_number(uow, numbers=["+16175550999"])

    [stored] = await session.scalars(select(Line))
    assert without is None
    assert unknown is None
    assert {line.id for line in (added, again, by_id, by_number) if line} == {stored.id}
    assert (stored.number, stored.name) == (NUMBER, NUMBER)
