"""A preview shows the messages that the claim would send, and counts the recipients of a start.

It also reports characters that force the encoding UCS-2, and contacts without a value.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BUSINESS, TIMES
from tests.factories import make_campaign, make_contact, make_line, make_list, number

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.audience.storage import store_next_chunk
from crm_api.domain.campaigns.errors import CampaignNotFoundError, InvalidCampaignError
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.campaigns.preview import service as previews
from crm_api.domain.campaigns.preview.schemas import CampaignPreview, DraftPreview, PreviewRequest
from crm_api.domain.campaigns.templates.message_composer import MessageComposer
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit.message_segments import Encoding
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends import claim as claiming
from crm_api.domain.messaging.sends.claim_order import ClaimOrder
from crm_api.domain.messaging.sends.pacing import Burst
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

AT_ONCE = Burst(size=100, interval=timedelta(minutes=1))

NewUow = Callable[[], UnitOfWork]
SIGNED = "Granite here. Reply STOP to opt out."


async def make_draft(
    session: AsyncSession, people: list[Contact], *bodies: str, **values: Any
) -> Campaign:
    line = await make_line(session)
    homeowners = await make_list(session, contacts=people)
    audience = {"list_id": str(homeowners.id), **values.pop("audience", {})}
    campaign = await make_campaign(
        session, line=line, status="draft", bodies=bodies, audience=audience, **values
    )
    await session.commit()
    return campaign


async def preview(
    new_uow: NewUow, campaign: Campaign, *, most: int = previews.MOST_PEOPLE, **request: Any
) -> CampaignPreview:
    async with new_uow() as uow:
        return await previews.preview_campaign(
            uow,
            campaign_id=campaign.id,
            request=PreviewRequest(**request),
            business=BUSINESS,
            most=most,
            now=NOW,
        )


async def make_person(session: AsyncSession, position: int, **values: Any) -> Contact:
    return await make_contact(session, phone=number(position), **values)


async def test_preview_shows_the_messages_of_the_claim(
    session: AsyncSession, new_uow: NewUow
) -> None:
    people = [
        await make_person(
            session,
            n,
            first_name=f"Ada{n}" if n % 2 else None,
            last_name="Rossi",
            email="ada@example.com",
            company="Rossi & Sons",
            street=f"{n} Elm St",
            city="Boston",
            state="MA",
            postal_code="02118",
            attributes={"year_built": 1900 + n, "owner": {"kind": "trust"}},
        )
        for n in range(48)  # all 24 people without a name get the first variant in 6e-8 of runs
    ]
    everything = (
        "{{ first_name | default: 'there' }} {{ last_name }} {{ email }} {{ company }} {{ street }}"
        " {{ city }} {{ state }} {{ postal_code }} {{ phone }} {{ attributes.year_built }}"
        " {{ attributes.owner.kind }} {{ line.name }} {{ line.number }} {{ business.name }}"
        " {{ business.contact }}"
    )
    bodies = (everything, "{{ first_name }}: {{ attributes.owner.kind }}")
    campaign = await make_draft(session, people, *bodies, opt_out_footer="STOP ends it")

    result = await preview(new_uow, campaign, limit=50)

    async with new_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
        await begin_due_campaigns(uow, now=NOW)
    async with new_uow() as uow:
        order = ClaimOrder(
            campaign_id=campaign.id,
            line_id=campaign.line_id,
            open_zones={"MA/America/New_York": NOW + timedelta(hours=1)},
            daily_limit=125,
            min_days_between=None,
            pacing=AT_ONCE,
            compose=MessageComposer(
                variants=[{"body": body, "weight": 50, "is_stopped": False} for body in bodies],
                follow_ups=[],
                footer="STOP ends it",
                business=BUSINESS,
            ),
        )
        claim = await claiming.claim_recipients(uow, order, limit=50, times=TIMES, now=NOW)
        members = (await uow.session.scalars(select(CampaignMembership))).all()
    assert {sample.phone: sample.text for sample in result.samples} == {
        item.phone: item.body for item in claim.claimed
    }
    names = {member.phone: f"V{member.variant}" for member in members}
    assert all(sample.variant == names[sample.phone] for sample in result.samples)
    assert len({sample.variant for sample in result.samples}) == 2
    skipped = [member for member in members if member.skip_reason == "missing_value"]
    assert result.missing_values.count == len(skipped) > 0


@pytest.mark.parametrize("rule", ["send", "skip", "review"])
async def test_recipient_counts_equal_those_of_a_start(
    session: AsyncSession, new_uow: NewUow, rule: str
) -> None:
    people = [await make_person(session, n) for n in range(7)]
    flags = {0: "opted_out", 1: "do_not_contact", 2: "opt_out_hold"}
    for position, kind in flags.items():
        session.add(ContactFlag(phone=number(position), flag_type=kind, created_at=NOW))
    session.add(ContactFlag(phone=number(3), flag_type="recently_texted", created_at=NOW))
    people[6].deleted_at = NOW
    audience = {"exclude": {"contact_ids": [str(people[5].id)]}}
    campaign = await make_draft(
        session, people, SIGNED, previously_contacted=rule, audience=audience
    )

    found = (await preview(new_uow, campaign)).recipients

    async with new_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
        members = (await uow.session.scalars(select(CampaignMembership))).all()
    statuses = [member.status for member in members]
    reasons = [member.skip_reason for member in members if member.skip_reason]
    assert found.total == len(members) == 5
    assert found.would_be_texted == statuses.count("pending")
    assert found.review == statuses.count("review")
    assert found.held == statuses.count("held") == 1
    assert found.skipped == {reason: reasons.count(reason) for reason in reasons}


async def test_previous_message_is_found_on_the_timeline(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ada = await make_person(session, 1)
    campaign = await make_draft(session, [ada], SIGNED, previously_contacted="skip")
    session.add(
        Activity(
            kind="message",
            direction="outgoing",
            origin="manual",
            contact_id=ada.id,
            phone=ada.phone,
            media=[],
            status="sent",
            rank=3,
            occurred_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    await session.commit()

    found = await preview(new_uow, campaign)

    assert found.recipients.skipped == {"previously_contacted": 1}
    assert found.samples == []
    assert (found.cost, found.encoding) == ("0.00", Encoding.GSM_7)


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("{{ business.name }}", "Hi {{ business.name }}!"),
        ("{% assign x = 1 %}{{ 7 | times: 6 }}", "Hi {% assign x = 1 %}{{ 7 | times: 6 }}!"),
        ("\u05e9\u05dc\u05d5\u05dd", "Hi \u05e9\u05dc\u05d5\u05dd!"),
        ("\u0639\u0644\u064a\u200f", "Hi \u0639\u0644\u064a\u200f!"),
        ("\U0001f600", "Hi \U0001f600!"),
        ("A\x07d\x1ba", "Hi Ada!"),
    ],
)
async def test_value_with_liquid_is_inserted_as_text(
    session: AsyncSession, new_uow: NewUow, name: str, rendered: str
) -> None:
    ada = await make_person(session, 1, first_name=name)
    campaign = await make_draft(session, [ada], "Hi {{ first_name }}!")

    found = await preview(new_uow, campaign)

    assert [sample.text for sample in found.samples] == [rendered]


async def test_value_that_forces_ucs_2_is_reported_without_a_position(
    session: AsyncSession, new_uow: NewUow
) -> None:
    people = [
        await make_person(session, 1, first_name="Zo\u00eb"),
        await make_person(session, 2, first_name="\U0001f600" * 36),
        await make_person(session, 3),
    ]
    campaign = await make_draft(session, people, "{{ first_name }}")

    found = await preview(new_uow, campaign)

    characters = {
        (one.character, one.code_point, one.source, one.position, one.texts)
        for one in found.forcing_characters
    }
    assert characters == {
        ("\u00eb", "U+00EB", "value", None, 1),
        ("\U0001f600", "U+1F600", "value", None, 1),
    }
    variant = found.variants[0]
    assert (variant.texts, variant.texts_in_ucs_2, variant.encoding) == (3, 2, Encoding.UCS_2)
    # 36 of these characters need 72 units (a surrogate pair each). One segment has 70 units.
    assert (variant.segments_min, variant.segments_max, variant.segments) == (1, 2, 4)
    assert (variant.cost, found.cost) == ("0.04", "0.04")


async def test_characters_that_force_ucs_2_in_body_and_footer_have_a_position(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ada = await make_person(session, 1)
    body = "It\u2019s {{ first_name | default: '\u05d0' }}{% comment %}\u2014{% endcomment %}"
    campaign = await make_draft(session, [ada], body, opt_out_footer="STOP \u2192 out")

    found = await preview(new_uow, campaign)

    # The comment and the unused default value appear in no message, so they are not reported.
    assert [(one.source, one.position, one.character) for one in found.forcing_characters] == [
        ("body", 2, "\u2019"),
        ("footer", 5, "\u2192"),
    ]


async def test_first_fifty_contacts_without_a_value_are_listed(
    session: AsyncSession, new_uow: NewUow
) -> None:
    people = [await make_person(session, n, first_name=None) for n in range(55)]
    people += [await make_person(session, 55, attributes={"owner": " "})]
    body = "{{ first_name }} {{ attributes.owner }}"
    campaign = await make_draft(session, people, body)

    missing = (await preview(new_uow, campaign)).missing_values

    assert missing.count == 56
    assert missing.by_variable == {"first_name": 55, "attributes.owner": 1}
    assert len(missing.contacts) == 50


async def test_chosen_contacts_are_shown_in_order_with_their_skip_reasons(
    session: AsyncSession, new_uow: NewUow
) -> None:
    people = [await make_person(session, n, first_name=f"Ada{n}") for n in range(3)]
    people.append(await make_person(session, 3, first_name=None))
    session.add(ContactFlag(phone=number(2), flag_type="opted_out", created_at=NOW))
    campaign = await make_draft(session, people, "Hi {{ first_name }}")

    chosen = [people[n].id for n in (3, 2, 0, 0)]
    found = await preview(new_uow, campaign, contact_ids=chosen)

    assert [(sample.phone, sample.text, sample.skip_reason) for sample in found.samples] == [
        (number(3), None, "missing_value"),
        (number(2), "Hi Ada2", "opted_out"),
        (number(0), "Hi Ada0", None),
    ]
    assert found.texts_rendered == 2


async def test_contact_outside_the_audience_is_refused(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ada, excluded = await make_person(session, 1), await make_person(session, 2)
    audience = {"exclude": {"contact_ids": [str(excluded.id)]}}
    campaign = await make_draft(session, [ada, excluded], SIGNED, audience=audience)

    with pytest.raises(InvalidCampaignError) as caught:
        await preview(new_uow, campaign, contact_ids=[ada.id, excluded.id])

    assert [(fault.pointer, fault.code) for fault in caught.value.errors] == [
        ("/contact_ids/1", "unknown_contact")
    ]


async def test_large_audience_is_counted_completely_and_rendered_partly(
    session: AsyncSession, new_uow: NewUow
) -> None:
    people = [await make_person(session, n) for n in range(5)]
    session.add(ContactFlag(phone=number(4), flag_type="opted_out", created_at=NOW))
    campaign = await make_draft(session, people, SIGNED)

    part = await preview(new_uow, campaign, most=3)
    complete = await preview(new_uow, campaign, most=5)

    assert (part.is_partial, part.texts_rendered, part.cost) == (True, 3, "0.03")
    assert (complete.is_partial, complete.texts_rendered, complete.cost) == (False, 4, "0.04")
    assert part.recipients == complete.recipients
    assert part.recipients.would_be_texted == 4


async def test_audience_queries_use_a_custom_plan(session: AsyncSession, new_uow: NewUow) -> None:
    # After five runs on a connection, PostgreSQL may change to a generic plan. For a large
    # audience, the generic plan takes twenty times as long.
    campaign = await make_draft(session, [await make_person(session, 1)], SIGNED)

    modes = []
    async with new_uow() as uow:
        await previews.preview_campaign(
            uow, campaign_id=campaign.id, request=PreviewRequest(), business=BUSINESS, now=NOW
        )
        modes.append(await uow.session.scalar(text("SHOW plan_cache_mode")))
    async with new_uow() as uow:
        await uow.session.execute(text("SET LOCAL plan_cache_mode = auto"))
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        modes.append(await uow.session.scalar(text("SHOW plan_cache_mode")))
    async with new_uow() as uow:
        await uow.session.execute(text("SET LOCAL plan_cache_mode = auto"))
        await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
        modes.append(await uow.session.scalar(text("SHOW plan_cache_mode")))

    assert modes == ["force_custom_plan"] * 3


async def test_unknown_campaign_is_not_found(new_uow: NewUow) -> None:
    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await previews.preview_campaign(
                uow,
                campaign_id=new_id(),
                request=PreviewRequest(),
                business=BUSINESS,
                now=NOW,
            )


async def test_preview_of_an_invalid_draft_is_refused(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    ada = await make_person(session, 1)
    body = DraftPreview.model_validate(
        {
            "name": "Autumn",
            "line_id": line.id,
            "audience": {"contact_ids": [ada.id]},
            "variants": [{"name": "A", "body": SIGNED, "weight": 90}],
        }
    )

    with pytest.raises(InvalidCampaignError) as caught:
        async with new_uow() as uow:
            await previews.preview_draft(uow, body, business=BUSINESS, now=NOW)

    assert [fault.code for fault in caught.value.errors] == ["weights"]
