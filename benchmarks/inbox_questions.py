"""The requests of a user of a large inbox: lists, counts, searches, and one conversation.

``inbox.py`` measures these requests.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from benchmarks.inbox_rows import RARE
from benchmarks.questions import Ask, Question, get
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.selection import InboxFilter, InboxSort
from crm_api.platform.database import open_engine

LIST_MS, SEARCH_MS, SIMILAR_MS = 10.0, 50.0, 250.0
PATH = "/v1/conversations"
SEARCHES = {
    "a common word": ("basement", "kitchen", "tuesday", "number"),
    "a rare word": (RARE, "efflores", "zzzz"),
    "several words": ("sump pump night", "doors winter", "inspection free", "water rossi"),
    "a phrase": ('"sump pump has failed"', '"until the summer"', f'"see {RARE}"'),
    "a name or number": ("ashfield", "thornway ada", "617555", "(617) 555-0101", "zelstead"),
}
SIMILAR = (
    *("basment", "efflorescense", "fundation crack", "neigbor nummber", "tusday", "insepction"),
    "zabelstead",
)
"""Words that no message contains, so that the search looks for similar words. The last word is
similar to many surnames."""
_TALKS = text("""
    SELECT id, phone, contact_id, campaign_id, last_activity_at, waiting_since FROM conversation
    WHERE state = CAST(:state AS text) AND campaign_id IS NOT NULL
    ORDER BY md5(id::text) LIMIT 40
""")
_BUSIEST = text("SELECT conversation_id FROM activity WHERE openphone_id = 'AC1busiest1'")


async def of_inbox(database_url: str) -> list[Question]:
    """Return the requests. Each request has a different name."""
    async with open_engine(database_url) as engine, engine.connect() as connection:
        waiting = list(await connection.execute(_TALKS, {"state": "waiting"}))
        still = list(await connection.execute(_TALKS, {"state": "open"}))
        busiest = await connection.scalar(_BUSIEST)
        line_id = await connection.scalar(text("SELECT id FROM line ORDER BY id LIMIT 1"))
    return [
        *_lists(waiting, line_id=line_id),
        _deep("at any depth", [*waiting, *still], InboxFilter(), InboxSort.NEWEST),
        _deep(
            "at any depth of the waiting",
            waiting,
            InboxFilter(states=(ConversationState.WAITING,)),
            InboxSort.WAITING_LONGEST,
        ),
        Question(name="counts", ask=get(f"{PATH}/counts")),
        Question(name="one conversation", ask=_one([one.id for one in still])),
        Question(name="its messages", ask=_one([one.id for one in still], "/messages")),
        Question(name="5,000 messages", ask=_one([busiest], "/messages")),
        *_searches(),
    ]


def _lists(talks: Sequence[Any], *, line_id: UUID) -> Iterator[Question]:
    filters: dict[str, list[dict[str, Any]]] = {
        "all": [{}],
        "waiting": [{"state": "waiting"}],
        "to work on": [{"state": "waiting,open"}],
        "mine": [{"assignee": "me"}],
        "nobody's": [{"assignee": "none"}],
        "unread": [{"unread": "true"}],
        "of a line": [{"line_id": str(line_id), "state": "open"}],
        "of a campaign": [{"campaign_id": str(one.campaign_id)} for one in islice(talks, 8)],
        "of a contact": [{"contact_id": str(one.contact_id)} for one in talks],
        "of a number": [{"phone": one.phone} for one in talks],
        "with a flag": [{"flag": "do_not_contact"}, {"flag": "vip", "state": "waiting"}],
    }
    for sort in InboxSort:
        for name, queries in filters.items():
            asked = [{**query, "sort": sort.value} for query in queries]
            yield Question(name=f"{name}, {sort.value}", ask=get(PATH, asked), wanted=LIST_MS)


def _deep(name: str, talks: Sequence[Any], wanted: InboxFilter, sort: InboxSort) -> Question:
    """Return a request for pages that begin at random positions of the list."""
    cursors = Cursors("conversations", wanted=wanted, sort=sort)
    queries = [
        {
            "sort": sort.value,
            "state": ",".join(one.value for one in wanted.states),
            "cursor": cursors.write(
                one.last_activity_at if sort is InboxSort.NEWEST else one.waiting_since, one.id
            ),
        }
        for one in talks
    ]
    return Question(name=name, ask=get(PATH, queries), wanted=LIST_MS)


def _one(ids: Sequence[UUID], end: str = "") -> Ask:
    def ask(client: httpx.Client, call: int) -> httpx.Response:
        return client.get(f"{PATH}/{ids[call % len(ids)]}{end}")

    return ask


def _searches() -> Iterator[Question]:
    for path, where in ((PATH, "conversations"), ("/v1/messages", "messages")):
        for name, words in SEARCHES.items():
            yield Question(
                name=f"{name} in {where}",
                ask=get(path, [{"q": q} for q in words]),
                wanted=SEARCH_MS,
            )
        yield Question(
            name=f"a typing error in {where}",
            ask=get(path, [{"q": q} for q in SIMILAR]),
            wanted=SIMILAR_MS,
        )
