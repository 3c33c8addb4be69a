"""Queries on segments, and on the people in a segment, that must use an index."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.filling import LIST, WAITING, made_id
from tests.migrations.hot import CONTACT, PHONE, PLACE, Hot, sql, use_case
from tests.migrations.support import Call

from crm_api.domain.campaigns.audience import storage
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.people.segments import compiler, people, service
from crm_api.domain.people.segments.compiler import compile_filter
from crm_api.domain.people.segments.parser import read_filter

LATELY = {"field": "last_contacted_at", "op": "not_within_last", "value": {"days": 30}}
ENGAGED = {
    "all": [
        {"field": "engagement_score", "op": "gte", "value": 40},
        {"field": "reply_class", "op": "eq", "value": "interested"},
    ]
}
ADOPT = """
    UPDATE conversation SET contact_id = :contact_id WHERE phone = :phone AND contact_id IS NULL
"""
"""A copy of the statement of the trigger that gives conversations to a new contact."""
FEW = {
    "all": [
        {"field": "tags", "op": "contains", "value": "tag17"},
        LATELY,
        {"field": "lists", "op": "not_contains", "value": str(LIST)},
    ]
}


def listed(filter_: dict[str, Any]) -> Call:
    """Return a call that reads the second page of the people in a segment."""

    async def run(session: AsyncSession) -> None:
        condition = compile_filter(read_filter(filter_), now=NOW)
        await people.fetch_matches(session, condition, after=PLACE, limit=51)

    return run


def one_person(filter_: dict[str, Any]) -> Call:
    """Return a call that checks for one person whether a segment contains the person.

    An audience makes this check for each of its people.
    """

    async def run(session: AsyncSession) -> None:
        condition = compile_filter(read_filter(filter_), now=NOW, by_person=True)
        await session.execute(
            text(f"SELECT {condition.sql} FROM contact c WHERE c.id = :contact_id"),
            {**condition.values, "contact_id": CONTACT},
        )

    return run


async def chunk(session: AsyncSession) -> None:
    """Store the next people of an audience: those in one segment who are not in another segment."""
    audience = {
        "segment_id": str(made_id("segment", 1)),
        "exclude": {"segment_ids": [str(made_id("segment", 2))]},
    }
    campaign = Campaign(id=WAITING, audience=audience, started_at=NOW, previously_contacted="send")
    page = await storage.resolve_page(session, campaign=campaign, after=None, limit=100, now=NOW)
    await storage.insert_chunk(session, page)


SEGMENTS = [
    Hot(
        "segments, newest first",
        {"idx_segment_created"},
        use_case(
            lambda u: service.list_segments(u, cursor=Cursors("segments").write(*PLACE), limit=50)
        ),
    ),
    Hot(
        "a segment by its name",
        {"uq_segment_name"},
        lambda s: service.id_of_name(s, name="Segment 7"),
    ),
    Hot(
        "segments that a campaign names",
        {"pk_segment"},
        lambda s: compiler.lock_segments(s, segment_ids=[made_id("segment", 7)]),
    ),
    Hot(
        "people with a tag who were not contacted lately",
        {"idx_contact_tags"},
        listed(FEW),
        whole=frozenset({"conversation", "contact_list_member"}),
    ),
    Hot(
        "the next chunk of the people of a segment, stored",
        {
            "pk_contact",
            "idx_conversation_contact",
            "pk_contact_list_member|idx_contact_list_member_contact",
        },
        chunk,
    ),
    Hot(
        "a person's last contact",
        {"idx_conversation_contact"},
        one_person(LATELY),
        is_generic=True,
    ),
    Hot(
        "a person's engagement and the class of the last reply",
        {
            *("idx_activity_heard", "idx_outcome_subject_contact", "idx_contact_merged_into"),
            *("idx_campaign_membership_phone", "pk_outcome"),
        },
        one_person(ENGAGED),
        is_generic=True,
    ),
    Hot(
        "conversations that get the contact of their number",
        {"idx_conversation_nobody"},
        sql(text(ADOPT), contact_id=CONTACT, phone=PHONE),
        is_generic=True,
    ),
]
