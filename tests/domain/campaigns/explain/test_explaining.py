"""The explanation names each rule that stops a claim, and the claim agrees."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.explain.explanation import Explanation
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.sends import claim
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

UNNAMED = Business(name=None, contact=None)


class Scene:
    """A running campaign with one recipient who would get a message now."""

    def __init__(
        self, session: AsyncSession, new_uow: Callable[[], UnitOfWork], settings: Settings
    ) -> None:
        self.session = session
        self._new_uow = new_uow
        self.times = SendTimes.from_settings(settings)
        self.contact: Contact
        self.campaign: Campaign
        self.member: CampaignMembership

    async def build(self) -> "Scene":
        line = await make_line(self.session)
        self.contact = await make_contact(self.session)
        self.campaign = await make_campaign(self.session, line=line)
        self.member = await make_member(self.session, campaign=self.campaign, contact=self.contact)
        self.line = line
        await self.session.commit()
        return self

    async def explain(self, *, now: datetime = NOW, rules: str = "none") -> Explanation:
        async with self._new_uow() as uow:
            return await explain_recipient(
                uow,
                campaign_id=self.campaign.id,
                contact_id=self.contact.id,
                step=None,
                rules=load_rules(rules),
                business=UNNAMED,
                times=self.times,
                now=now,
            )

    async def claimed(self, *, now: datetime = NOW, rules: str = "none") -> int:
        """Return how many recipients the planner and the claim really take."""
        taken = 0
        async with self._new_uow() as uow:
            made = await planning.plan_sends(
                uow, rules=load_rules(rules), business=UNNAMED, now=now
            )
            for order in made.orders:
                result = await claim.claim_recipients(
                    uow, order, limit=10, times=self.times, now=now
                )
                taken += len(result.claimed)
        return taken


@pytest.fixture
async def scene(
    session: AsyncSession, new_uow: Callable[[], UnitOfWork], settings: Settings
) -> Scene:
    return await Scene(session, new_uow, settings).build()


async def test_recipient_whom_nothing_stops_would_be_sent_now(scene: Scene) -> None:
    found = await scene.explain()

    assert found.would_send_now
    assert found.next_allowed_at == NOW
    assert await scene.claimed() == 1


def flag(scene: Scene, name: str) -> ContactFlag:
    return ContactFlag(phone=scene.contact.phone, flag_type=name, created_at=NOW)


def attempt(scene: Scene, **values: Any) -> SendAttempt:
    return SendAttempt(
        line_id=scene.line.id,
        activity_id=scene.member.id,
        phone=values.pop("phone", scene.contact.phone),
        body="Hi",
        created_at=values.pop("created_at", NOW - timedelta(hours=1)),
        updated_at=NOW,
        **values,
    )


def pause(scene: Scene) -> None:
    scene.campaign.status = "paused"
    scene.campaign.paused_reason = "failure_rate"


def block(scene: Scene) -> None:
    scene.line.status = "blocked"
    scene.line.blocked_reason = "no_credits"


def use_up_line(scene: Scene) -> None:
    scene.line.daily_limit = 0


def use_up_campaign(scene: Scene) -> None:
    scene.campaign.daily_limit = 0


def put_off(scene: Scene) -> None:
    scene.member.due_at = NOW + timedelta(minutes=3)


def close_window(scene: Scene) -> None:
    scene.campaign.window_start, scene.campaign.window_end = time(11), time(12)


def take_name(scene: Scene) -> None:
    scene.contact.first_name = None


def delete_contact(scene: Scene) -> None:
    scene.contact.deleted_at = NOW


def ask_for_days(scene: Scene) -> None:
    scene.campaign.min_days_between = 7
    scene.session.add(attempt(scene, kind="campaign", status="sent", campaign_id=scene.member.id))


def leave_out_who_was_texted(scene: Scene) -> None:
    scene.campaign.previously_contacted = "review"
    scene.session.add(flag(scene, "recently_texted"))


def try_line(scene: Scene) -> None:
    scene.line.is_probing, scene.line.probe_at = True, NOW
    scene.session.add(attempt(scene, phone="+16175550188", status="unknown", called_at=NOW))


CASES: dict[str, Callable[[Scene], None]] = {
    "failure_rate": pause,
    "line_blocked": block,
    "line_on_trial": try_line,
    "opted_out": lambda scene: scene.session.add(flag(scene, "opted_out")),
    "do_not_contact": lambda scene: scene.session.add(flag(scene, "do_not_contact")),
    "opt_out_hold": lambda scene: scene.session.add(flag(scene, "opt_out_hold")),
    "contact_deleted": delete_contact,
    "number_busy": lambda scene: scene.session.add(
        attempt(scene, kind="manual", status="calling", called_at=NOW)
    ),
    "number_kept": lambda scene: scene.session.add(
        attempt(scene, kind="manual", status="parked", called_at=NOW)
    ),
    "previously_contacted": leave_out_who_was_texted,
    "min_days_between": ask_for_days,
    "line_daily_limit": use_up_line,
    "campaign_daily_limit": use_up_campaign,
    "waiting": put_off,
    "outside_schedule": close_window,
    "missing_value": take_name,
}


@pytest.mark.parametrize("rule", CASES)
async def test_rule_that_stops_the_claim_is_named(scene: Scene, rule: str) -> None:
    CASES[rule](scene)
    await scene.session.commit()

    found = await scene.explain()

    named = {stop.rule for stop in found.stops} | {stop.detail for stop in found.stops}
    assert any(rule in word for word in named)
    assert not found.would_send_now
    assert await scene.claimed() == 0


async def test_next_instant_is_the_opening_after_the_longest_wait(scene: Scene) -> None:
    close_window(scene)
    put_off(scene)
    await scene.session.commit()

    found = await scene.explain()

    assert found.next_allowed_at == datetime(2026, 11, 25, 16, 0, tzinfo=UTC)


async def test_daily_limit_is_over_at_the_next_opening(scene: Scene) -> None:
    use_up_line(scene)
    await scene.session.commit()

    found = await scene.explain()

    assert found.next_allowed_at == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_frequency_cap_is_over_when_its_oldest_text_counts_no_more(scene: Scene) -> None:
    scene.campaign.frequency_cap = {"texts": 2, "days": 3}
    for hours in (48, 24, 1):
        at = NOW - timedelta(hours=hours)
        scene.session.add(
            attempt(scene, status="sent", campaign_id=scene.member.id, created_at=at, called_at=at)
        )
    await scene.session.commit()

    found = await scene.explain()

    until = NOW + timedelta(hours=48)
    assert [stop.rule for stop in found.stops] == ["frequency_cap"]
    assert found.next_allowed_at == until
    assert await scene.claimed(now=until - timedelta(seconds=1)) == 0
    assert await scene.claimed(now=until + timedelta(seconds=60)) == 1


async def test_legal_limit_is_over_when_its_oldest_text_counts_no_more(scene: Scene) -> None:
    scene.member.zone_key = "MD/America/New_York"
    scene.campaign.zone_keys = [scene.member.zone_key]
    for hours in (3, 2, 1):
        at = NOW - timedelta(hours=hours)
        scene.session.add(
            attempt(scene, status="sent", campaign_id=scene.member.id, created_at=at, called_at=at)
        )
    await scene.session.commit()

    found = await scene.explain(rules="us")

    assert [stop.rule for stop in found.stops] == ["legal_frequency"]
    assert found.stops[0].until == NOW + timedelta(hours=21)
    assert found.next_allowed_at == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_number_is_free_when_the_window_of_an_unclear_text_is_over(scene: Scene) -> None:
    scene.session.add(attempt(scene, kind="manual", status="parked", called_at=NOW))
    await scene.session.commit()

    found = await scene.explain()

    assert found.next_allowed_at == NOW + scene.times.grace
    assert await scene.claimed(now=NOW + scene.times.grace) == 1


async def test_campaign_that_ends_first_has_no_next_instant(scene: Scene) -> None:
    use_up_line(scene)
    scene.campaign.end_at = datetime(2026, 11, 26, 14, 0, tzinfo=UTC)
    await scene.session.commit()

    found = await scene.explain()

    assert [stop.rule for stop in found.stops] == ["line_daily_limit", "campaign_ends"]
    assert found.next_allowed_at is None


async def test_opt_out_has_no_next_instant(scene: Scene) -> None:
    scene.session.add(flag(scene, "opted_out"))
    await scene.session.commit()

    found = await scene.explain()

    assert found.next_allowed_at is None


async def test_legal_hours_stop_what_the_schedule_allows(scene: Scene) -> None:
    scene.campaign.window_start, scene.campaign.window_end = time(0), time(23, 59)
    await scene.session.commit()
    night = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)

    found = await scene.explain(now=night, rules="us")

    assert [stop.rule for stop in found.stops] == ["outside_legal_hours"]
    assert found.next_allowed_at == datetime(2026, 11, 26, 13, 0, tzinfo=UTC)
    assert await scene.claimed(now=night, rules="us") == 0


@pytest.mark.parametrize(
    ("rules", "window", "rule", "opens"),
    [
        ("none", (time(9), time(18)), "outside_schedule", (26, 14)),
        ("us", (time(0), time(23, 59)), "outside_legal_hours", (26, 13)),
    ],
)
async def test_hours_that_end_before_a_call_could_are_over(
    scene: Scene, rules: str, window: tuple[time, time], rule: str, opens: tuple[int, int]
) -> None:
    scene.campaign.window_start, scene.campaign.window_end = window
    await scene.session.commit()
    closes_at = datetime(2026, 11, 25, 23 if rules == "none" else 1, 0, tzinfo=UTC)
    closes_at += timedelta(days=rules == "us")
    nearly = closes_at - scene.times.call

    found = await scene.explain(now=nearly, rules=rules)

    day, hour = opens
    assert [stop.rule for stop in found.stops] == [rule]
    assert found.next_allowed_at == datetime(2026, 11, day, hour, 0, tzinfo=UTC)
    assert await scene.claimed(now=nearly, rules=rules) == 0


async def test_campaign_that_ends_before_a_call_could_has_ended(scene: Scene) -> None:
    scene.campaign.end_at = NOW + scene.times.call
    await scene.session.commit()

    found = await scene.explain()

    assert [stop.rule for stop in found.stops] == ["campaign_ended"]
    assert await scene.claimed() == 0


async def test_contact_outside_the_campaign_is_not_a_recipient(scene: Scene) -> None:
    scene.contact = await make_contact(scene.session, phone="+16175550177")
    await scene.session.commit()

    with pytest.raises(RecipientNotFoundError):
        await scene.explain()
