"""Queries on the message list, the message search and saved replies that must use an index."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tests.migrations.filling import NOON, made_id
from tests.migrations.hot import PLACE, Hot, sql, use_case
from tests.migrations.support import Call

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.office.message_search.conversations import named_conversations
from crm_api.domain.office.message_search.selection import MessageFilter, MessageSelection
from crm_api.domain.office.message_search.terms import TermPeople, find_people, parse_terms
from crm_api.domain.office.saved_replies import applying
from crm_api.domain.office.saved_replies.service import list_saved_replies
from crm_api.platform.ids import smallest_id_at

SOME = TermPeople(ids=(made_id("contact", 7),), is_complete=True)


def _selected(**wanted: Any) -> MessageSelection:
    found = MessageFilter(**wanted)
    terms = parse_terms(found.q)
    return MessageSelection(wanted=found, terms=terms, people=[SOME for _ in terms])


def _in_order(**wanted: Any) -> Call:
    async def read(session: AsyncSession) -> None:
        await session.execute(_selected(**wanted).in_order(PLACE, size=2_000).limit(51))

    return read


def _by_words(q: str) -> Call:
    async def read(session: AsyncSession) -> None:
        await session.execute(_selected(q=q).by_words(PLACE, limit=51))

    return read


def _named(*, is_complete: bool) -> Call:
    people = replace(SOME, is_complete=is_complete)
    selection = replace(_selected(q="ada77 rossi77"), people_of_all=people)

    async def read(session: AsyncSession) -> None:
        named = named_conversations(selection)
        assert named is not None
        await session.execute(named)

    return read


def _by_similar_words(q: str) -> Call:
    low = smallest_id_at(NOON - timedelta(days=4_500))

    async def read(session: AsyncSession) -> None:
        await session.execute(_selected(q=q).by_similar_words(PLACE, limit=51, ids=(low, None)))

    return read


OFFICE = [
    Hot("all messages", {"idx_activity_newest"}, _in_order()),
    Hot("all replies", {"idx_activity_written"}, _in_order(direction=Direction.INCOMING)),
    Hot("replies of a class", {"idx_activity_written"}, _in_order(reply_class=ReplyClass.LATER)),
    Hot(
        "all messages of a contact",
        {"idx_activity_contact"},
        _in_order(contact_id=made_id("contact", 7)),
    ),
    Hot("the newest messages with a word", {"idx_activity_written"}, _in_order(q="chimney")),
    Hot(
        "all messages with words",
        {"idx_activity_words", "idx_activity_contact"},
        _by_words("chimney rossi"),
        is_generic=True,
    ),
    Hot(
        "people of a search for messages",
        {"idx_contact_search"},
        lambda s: find_people(s, parse_terms("ada77 rossi77")),
        is_generic=True,
    ),
    Hot(
        "conversations with people of a name",
        {"idx_contact_search", "idx_conversation_contact"},
        _named(is_complete=False),
    ),
    Hot(
        "conversations with a few people of a name",
        {"idx_conversation_contact"},
        _named(is_complete=True),
        is_generic=True,
    ),
    Hot(
        "messages with similar words",
        {"idx_activity_words"},
        _by_similar_words("chimny"),
    ),
    Hot(
        "the last message of a person",
        {"idx_activity_conversation"},
        sql(applying.LAST_RECEIVED, conversation_id=made_id("talk", 7)),
        is_generic=True,
    ),
    Hot(
        "saved replies",
        {"idx_saved_reply_created"},
        use_case(
            lambda uow: list_saved_replies(
                uow, cursor=Cursors("saved replies").write(*PLACE), limit=50
            )
        ),
    ),
]
