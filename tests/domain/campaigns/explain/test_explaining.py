"""The explanation of a recipient names each rule that stops the claim, and the claim agrees."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.explain.explanation import ExplanationRead
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit.zones import zone_key
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.sends import claim
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

UNNAMED = Business(name=None, contact=None)


class ClaimableRecipient:
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

    async def build(self) -> "ClaimableRecipient":
        line = await make_line(self.session)
        self.contact = await make_contact(self.session)
        self.campaign = await make_campaign(self.session, line=line)
        self.member = await make_member(self.session, campaign=self.campaign, contact=self.contact)
        self.line = line
        await self.session.commit()
        return self

    async def explain(self, *, now: datetime = NOW, rules: str = "none") -> ExplanationRead:
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

    async def count_claimed(self, *, now: datetime = NOW, rules: str = "none") -> int:
        """Return how many recipients a plan and a claim reserve."""
        count = 0
        async with self._new_uow() as uow:
            made = await planning.plan_sends(
                uow, rules=load_rules(rules), business=UNNAMED, now=now
            )
            for order in made.orders:
                result = await claim.claim_recipients(
                    uow, order, limit=10, times=self.times, now=now
                )
                count += len(result.claimed)
        return count


@pytest.fixture
async def recipient(
    session: AsyncSession, new_uow: Callable[[], UnitOfWork], settings: Settings
) -> ClaimableRecipient:
    return await ClaimableRecipient(session, new_uow, settings).build()


async def test_recipient_without_a_stop_would_get_a_message_now(
    recipient: ClaimableRecipient,
) -> None:
    found = await recipient.explain()

    assert found.would_send_now
    assert found.next_allowed_at == NOW
    assert await recipient.count_claimed() == 1


def make_flag(recipient: ClaimableRecipient, name: str) -> ContactFlag:
    return ContactFlag(phone=recipient.contact.phone, flag_type=name, created_at=NOW)


def make_attempt(recipient: ClaimableRecipient, **values: Any) -> SendAttempt:
    return SendAttempt(
        line_id=recipient.line.id,
        activity_id=recipient.member.id,
        phone=values.pop("phone", recipient.contact.phone),
        body="Hi",
        created_at=values.pop("created_at", NOW - timedelta(hours=1)),
        updated_at=NOW,
        **values,
    )


def pause_campaign(recipient: ClaimableRecipient) -> None:
    recipient.campaign.status = "paused"
    recipient.campaign.paused_reason = "failure_rate"


def block_line(recipient: ClaimableRecipient) -> None:
    recipient.line.status = "blocked"
    recipient.line.blocked_reason = "no_credits"


def use_up_line_limit(recipient: ClaimableRecipient) -> None:
    recipient.line.daily_limit = 0


def use_up_campaign_limit(recipient: ClaimableRecipient) -> None:
    recipient.campaign.daily_limit = 0


def postpone(recipient: ClaimableRecipient) -> None:
    recipient.member.due_at = NOW + timedelta(minutes=3)


def close_window(recipient: ClaimableRecipient) -> None:
    recipient.campaign.window_start, recipient.campaign.window_end = time(11), time(12)


def clear_name(recipient: ClaimableRecipient) -> None:
    recipient.contact.first_name = None


def delete_contact(recipient: ClaimableRecipient) -> None:
    recipient.contact.deleted_at = NOW


def require_days_between(recipient: ClaimableRecipient) -> None:
    recipient.campaign.min_days_between = 7
    recipient.session.add(
        make_attempt(recipient, kind="campaign", status="sent", campaign_id=recipient.member.id)
    )


def review_previously_contacted(recipient: ClaimableRecipient) -> None:
    recipient.campaign.previously_contacted = "review"
    recipient.session.add(make_flag(recipient, "recently_texted"))


def put_line_on_trial(recipient: ClaimableRecipient) -> None:
    recipient.line.is_probing, recipient.line.probe_at = True, NOW
    recipient.session.add(
        make_attempt(recipient, phone="+16175550188", status="unknown", called_at=NOW)
    )


CASES: dict[str, Callable[[ClaimableRecipient], None]] = {
    "failure_rate": pause_campaign,
    "line_blocked": block_line,
    "line_on_trial": put_line_on_trial,
    "opted_out": lambda recipient: recipient.session.add(make_flag(recipient, "opted_out")),
    "do_not_contact": lambda recipient: recipient.session.add(
        make_flag(recipient, "do_not_contact")
    ),
    "opt_out_hold": lambda recipient: recipient.session.add(make_flag(recipient, "opt_out_hold")),
    "contact_deleted": delete_contact,
    "number_busy": lambda recipient: recipient.session.add(
        make_attempt(recipient, kind="manual", status="calling", called_at=NOW)
    ),
    "number_kept": lambda recipient: recipient.session.add(
        make_attempt(recipient, kind="manual", status="parked", called_at=NOW)
    ),
    "previously_contacted": review_previously_contacted,
    "min_days_between": require_days_between,
    "line_daily_limit": use_up_line_limit,
    "campaign_daily_limit": use_up_campaign_limit,
    "waiting": postpone,
    "outside_schedule": close_window,
    "missing_value": clear_name,
}


@pytest.mark.parametrize("rule", CASES)
async def test_rule_that_stops_the_claim_is_named(recipient: ClaimableRecipient, rule: str) -> None:
    CASES[rule](recipient)
    await recipient.session.commit()

    found = await recipient.explain()

    named = {stop.rule for stop in found.stops} | {stop.detail for stop in found.stops}
    assert any(rule in word for word in named)
    assert not found.would_send_now
    assert await recipient.count_claimed() == 0


async def test_next_allowed_time_is_the_opening_after_the_longest_wait(
    recipient: ClaimableRecipient,
) -> None:
    close_window(recipient)
    postpone(recipient)
    await recipient.session.commit()

    found = await recipient.explain()

    assert found.next_allowed_at == datetime(2026, 11, 25, 16, 0, tzinfo=UTC)


async def test_daily_limit_ends_at_the_next_opening(recipient: ClaimableRecipient) -> None:
    use_up_line_limit(recipient)
    await recipient.session.commit()

    found = await recipient.explain()

    assert found.next_allowed_at == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_frequency_cap_ends_when_the_oldest_message_leaves_its_period(
    recipient: ClaimableRecipient,
) -> None:
    recipient.campaign.frequency_cap = {"texts": 2, "days": 3}
    for hours in (48, 24, 1):
        at = NOW - timedelta(hours=hours)
        recipient.session.add(
            make_attempt(
                recipient,
                status="sent",
                campaign_id=recipient.member.id,
                created_at=at,
                called_at=at,
            )
        )
    await recipient.session.commit()

    found = await recipient.explain()

    until = NOW + timedelta(hours=48)
    assert [stop.rule for stop in found.stops] == ["frequency_cap"]
    assert found.next_allowed_at == until
    assert await recipient.count_claimed(now=until - timedelta(seconds=1)) == 0
    assert await recipient.count_claimed(now=until + timedelta(seconds=60)) == 1


async def test_legal_limit_ends_when_the_oldest_message_leaves_its_period(
    recipient: ClaimableRecipient,
) -> None:
    recipient.member.zone_key = "MD/America/New_York"
    recipient.campaign.zone_keys = [recipient.member.zone_key]
    for hours in (3, 2, 1):
        at = NOW - timedelta(hours=hours)
        recipient.session.add(
            make_attempt(
                recipient,
                status="sent",
                campaign_id=recipient.member.id,
                created_at=at,
                called_at=at,
            )
        )
    await recipient.session.commit()

    found = await recipient.explain(rules="us")

    assert [stop.rule for stop in found.stops] == ["legal_frequency"]
    assert found.stops[0].until == NOW + timedelta(hours=21)
    assert found.next_allowed_at == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_number_is_free_when_the_window_of_a_parked_attempt_ends(
    recipient: ClaimableRecipient,
) -> None:
    recipient.session.add(make_attempt(recipient, kind="manual", status="parked", called_at=NOW))
    await recipient.session.commit()

    found = await recipient.explain()

    assert found.next_allowed_at == NOW + recipient.times.grace
    assert await recipient.count_claimed(now=NOW + recipient.times.grace) == 1


async def test_campaign_that_ends_first_has_no_next_allowed_time(
    recipient: ClaimableRecipient,
) -> None:
    use_up_line_limit(recipient)
    recipient.campaign.end_at = datetime(2026, 11, 26, 14, 0, tzinfo=UTC)
    await recipient.session.commit()

    found = await recipient.explain()

    assert [stop.rule for stop in found.stops] == ["line_daily_limit", "campaign_ends"]
    assert found.next_allowed_at is None


async def test_opt_out_has_no_next_allowed_time(recipient: ClaimableRecipient) -> None:
    recipient.session.add(make_flag(recipient, "opted_out"))
    await recipient.session.commit()

    found = await recipient.explain()

    assert found.next_allowed_at is None


async def test_legal_hours_stop_a_message_that_the_schedule_allows(
    recipient: ClaimableRecipient,
) -> None:
    recipient.campaign.window_start, recipient.campaign.window_end = time(0), time(23, 59)
    await recipient.session.commit()
    night = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)

    found = await recipient.explain(now=night, rules="us")

    assert [stop.rule for stop in found.stops] == ["outside_legal_hours"]
    assert found.next_allowed_at == datetime(2026, 11, 26, 13, 0, tzinfo=UTC)
    assert await recipient.count_claimed(now=night, rules="us") == 0


async def test_address_without_legal_hours_names_the_time_zone_of_the_contact(
    recipient: ClaimableRecipient,
) -> None:
    forces = zone_key(timezone=None, state="AP", postal_code=None, phone="+16175550100")
    await recipient.session.execute(
        text("UPDATE campaign_membership SET zone_key = :key"), {"key": forces}
    )
    await recipient.session.commit()

    found = await recipient.explain(rules="us")

    (stop,) = [one for one in found.stops if one.rule == "outside_legal_hours"]
    assert (stop.until, "Set `timezone` of the contact." in stop.detail) == (None, True)


@pytest.mark.parametrize(
    ("rules", "window", "rule", "opens"),
    [
        ("none", (time(9), time(18)), "outside_schedule", (26, 14)),
        ("us", (time(0), time(23, 59)), "outside_legal_hours", (26, 13)),
    ],
)
async def test_hours_that_close_before_a_call_could_end_count_as_closed(
    recipient: ClaimableRecipient,
    rules: str,
    window: tuple[time, time],
    rule: str,
    opens: tuple[int, int],
) -> None:
    recipient.campaign.window_start, recipient.campaign.window_end = window
    await recipient.session.commit()
    closes_at = datetime(2026, 11, 25, 23 if rules == "none" else 1, 0, tzinfo=UTC)
    closes_at += timedelta(days=rules == "us")
    nearly = closes_at - recipient.times.call

    found = await recipient.explain(now=nearly, rules=rules)

    day, hour = opens
    assert [stop.rule for stop in found.stops] == [rule]
    assert found.next_allowed_at == datetime(2026, 11, day, hour, 0, tzinfo=UTC)
    assert await recipient.count_claimed(now=nearly, rules=rules) == 0


async def test_campaign_that_ends_before_a_call_could_end_counts_as_ended(
    recipient: ClaimableRecipient,
) -> None:
    recipient.campaign.end_at = NOW + recipient.times.call
    await recipient.session.commit()

    found = await recipient.explain()

    assert [stop.rule for stop in found.stops] == ["campaign_ended"]
    assert await recipient.count_claimed() == 0


async def test_contact_outside_the_campaign_is_not_a_recipient(
    recipient: ClaimableRecipient,
) -> None:
    recipient.contact = await make_contact(recipient.session, phone="+16175550177")
    await recipient.session.commit()

    with pytest.raises(RecipientNotFoundError):
        await recipient.explain()
