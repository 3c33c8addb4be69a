"""Queries on the inbox and on waiting conversations that must use an index."""

from typing import Any

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, sql, use_case

from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging import waiting
from crm_api.domain.messaging.conversations import participants
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox import changes, listing, presence, tallies
from crm_api.domain.office.inbox.selection import NOBODY, InboxFilter, InboxSort
from crm_api.domain.people.erasure.removal import FORGET_READING

USER, TALK = made_id("user", 7), made_id("talk", 7)
WAITING = (ConversationState.WAITING,)


def _list(name: str, *indexes: str, sort: InboxSort = InboxSort.NEWEST, **wanted: Any) -> Hot:
    filters = InboxFilter(**wanted)
    cursor = Cursors("conversations", wanted=filters, sort=sort).write(*PLACE)
    call = use_case(
        lambda uow: listing.list_conversations(
            uow, filters, sort=sort, caller_id=USER, cursor=cursor, limit=50, now=NOW
        )
    )
    return Hot(name, set(indexes), call)


INBOX = [
    _list("conversations, last active first", "idx_conversation_state"),
    _list(
        "conversations of a contact",
        "idx_conversation_contact",
        contact_id=made_id("contact", 7),
    ),
    _list("waiting conversations", "idx_conversation_state", states=WAITING),
    _list(
        "waiting conversations, the longest first",
        "idx_conversation_waiting",
        states=WAITING,
        sort=InboxSort.WAITING_LONGEST,
    ),
    _list("unread conversations", "idx_conversation_state", is_unread=True),
    _list(
        "unread conversations, the longest first",
        "idx_conversation_waiting",
        is_unread=True,
        sort=InboxSort.WAITING_LONGEST,
    ),
    _list(
        "conversations with a flag",
        "idx_conversation_state",
        "idx_contact_flag_type_phone",
        "uq_conversation_line_id_phone",
        flag="opted_out",
    ),
    _list(
        "waiting conversations with a flag, the longest first",
        "idx_conversation_waiting",
        "idx_contact_flag_other",
        "uq_conversation_line_id_phone",
        flag="vip",
        states=WAITING,
        sort=InboxSort.WAITING_LONGEST,
    ),
    _list("conversations of a user", "idx_conversation_assignee", assignee=USER),
    _list("unassigned conversations", "idx_conversation_unassigned", assignee=NOBODY),
    _list(
        "conversations about a campaign",
        "idx_conversation_campaign",
        campaign_id=made_id("campaign", 1),
    ),
    _list(
        "conversations about a campaign, the longest first",
        "idx_conversation_campaign",
        campaign_id=made_id("campaign", 1),
        sort=InboxSort.WAITING_LONGEST,
    ),
    Hot(
        "conversations to count",
        {"idx_conversation_heard", "idx_conversation_read_all", "idx_conversation_assignee"},
        use_case(lambda uow: tallies.count_conversations(uow, caller_id=USER)),
    ),
    Hot(
        "snoozed conversations that are due",
        {"idx_conversation_snoozed"},
        use_case(lambda uow: changes.wake_conversations(uow, limit=500, now=NOW)),
    ),
    Hot(
        "waiting state after new messages",
        {"pk_conversation"},
        sql(
            waiting.NOTE_ASKED,
            conversation_ids=[TALK],
            ats=[NOW],
            asks=[False],
            campaign_ids=[None],
            received=[NOW],
            contact_ids=[None],
            openphone_ids=[None],
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "the conversations of received messages",
        {"uq_conversation_line_id_phone"},
        sql(
            participants.LOCK_OR_ADD_CONVERSATIONS,
            ids=[made_id("new talk", 1)],
            line_ids=[made_id("line", 1)],
            phones=["+12145550199"],
            contact_ids=[None],
            openphone_ids=[None],
            ats=[NOW],
            sinces=[NOW],
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "waiting state after all messages of a conversation",
        {"pk_conversation", "idx_activity_conversation"},
        sql(waiting.DERIVE, ids=[TALK], now=NOW),
        is_generic=True,
    ),
    Hot(
        "messages and calls of a conversation that need an answer",
        {"pk_conversation", "idx_activity_conversation"},
        sql(changes.READ_ASKING_IDS, id=TALK),
        is_generic=True,
    ),
    Hot(
        "expired events of presence",
        {"idx_event_presence"},
        use_case(lambda uow: presence.forget_presence(uow, now=NOW)),
    ),
    Hot(
        "read marks of an erased conversation",
        {"idx_conversation_read_conversation"},
        sql(FORGET_READING, conversation_ids=[TALK]),
    ),
]
