"""The requests of a user of a large database: pages, searches, histories, and figures of campaigns.

``pages.py`` measures these requests.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from benchmarks import million_statements, population
from benchmarks.subject import SMALL, Subject
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort
from crm_api.platform.database import open_engine

PAGE_MS, SEARCH_MS, FORECAST_MS = 10.0, 25.0, 50.0
SEARCHES = (
    *("smith", "johnson", "ashfield", "josé", "thornway ada", "smith ada", "zzzz", "elfwick"),
    *("617555", "5550101", "(617) 555-0101", "example.com", "builders", "ada@nowhere"),
)
SHORT_SEARCHES = ("jo", "x", "xq", "a", "61")
FILTERS: tuple[dict[str, str], ...] = (
    {"tag": "basement"},
    {"tag": "nobody"},
    {"state": "CA"},
    {"state": "Guam"},
    {"opted_out": "true"},
    {"has_email": "false"},
)
PLACES = text("SELECT created_at, id, sort_name FROM contact ORDER BY md5(id::text) LIMIT 50")
_LISTS = text("""
    SELECT l.id FROM contact_list l JOIN contact_list_member m ON m.list_id = l.id
    GROUP BY l.id ORDER BY count(*) DESC
""")

Ask = Callable[[httpx.Client, int], httpx.Response]
"""A function that sends the request with this number, and returns the response."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A kind of request.

    Attributes:
        wanted: Target of the 95th percentile (p95) in milliseconds; None if there is no target.
        share: Share of the usual number of calls in a round. Slow requests have a small share.
    """

    name: str
    ask: Ask
    wanted: float | None = PAGE_MS
    share: float = 1.0


class Walk:
    """Reads a list page by page from its first page, and begins again after the last page."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._cursor: str | None = None

    def __call__(self, client: httpx.Client, _call: int) -> httpx.Response:
        """Read the next page of the list."""
        answer = client.get(self._path, params={"cursor": self._cursor} if self._cursor else {})
        self._cursor = answer.json().get("next_cursor")
        return answer


def get(path: str, queries: Sequence[dict[str, Any]] = ({},), *, method: str = "GET") -> Ask:
    """Return a function that sends the same request with each of the queries in turn."""

    def ask(client: httpx.Client, call: int) -> httpx.Response:
        return client.request(method, path, params=queries[call % len(queries)])

    return ask


async def of_contacts(database_url: str) -> list[Question]:
    """Return requests for contacts, lists and histories."""
    async with open_engine(database_url) as engine, engine.connect() as connection:
        places = (await connection.execute(PLACES)).all()
        lists = (await connection.execute(_LISTS)).scalars().all()
        busiest = await connection.scalar(million_statements.BUSIEST_CONTACT)
    ids = [place.id for place in places]

    def one(client: httpx.Client, call: int) -> httpx.Response:
        return client.get(f"/v1/contacts/{ids[call % len(ids)]}")

    def history(client: httpx.Client, call: int) -> httpx.Response:
        return client.get(f"/v1/contacts/{ids[call % len(ids)]}/timeline")

    long = "a search of three characters or more"
    return [
        Question(name="one contact", ask=one),
        Question(name="contacts at any depth, three orders", ask=_pages(places)),
        Question(name="contacts under a filter", ask=get("/v1/contacts", FILTERS), wanted=None),
        Question(name=long, ask=_search(SEARCHES), wanted=SEARCH_MS),
        Question(name="a search of one or two", ask=_search(SHORT_SEARCHES), wanted=SEARCH_MS),
        Question(name="members of the longest list", ask=Walk(f"/v1/lists/{lists[0]}/contacts")),
        Question(name="a timeline", ask=history),
        Question(name="a timeline of 5,000 messages", ask=get(f"/v1/contacts/{busiest}/timeline")),
    ]


def after_import(list_id: str) -> list[Question]:
    """Return the requests that would be slow if the tables were not prepared after a bulk load."""
    return [
        Question(name="right after an import: search", ask=_search(SEARCHES), wanted=SEARCH_MS),
        Question(name="right after an import: contacts", ask=Walk("/v1/contacts")),
        Question(name="right after an import: its list", ask=Walk(f"/v1/lists/{list_id}/contacts")),
    ]


def of_campaigns(subject: Subject) -> Iterator[Question]:
    """Yield requests about a large running campaign and a small one."""
    large, people = f"/v1/campaigns/{subject.large}", subject.recipients

    def explain(client: httpx.Client, call: int) -> httpx.Response:
        return client.get(f"{large}/recipients/{people[call % len(people)]}/explain")

    yield Question(name="one campaign", ask=get(large))
    yield Question(name="recipients", ask=Walk(f"{large}/recipients"))
    yield Question(name="explain", ask=explain)
    for campaign_id, size in ((subject.large, "all"), (subject.small, f"{SMALL:,}")):
        path = f"/v1/campaigns/{campaign_id}"
        yield Question(name=f"stats of {size}", ask=get(f"{path}/stats"))
        yield Question(
            name=f"forecast of {size}", ask=get(f"{path}/forecast"), wanted=FORECAST_MS, share=0.5
        )


def of_drafts(client: httpx.Client, subject: Subject) -> Iterator[Question]:
    """Create drafts of a campaign to a list; yield requests about these drafts."""
    for rule in ("send", "skip"):
        path = _draft(client, subject, previously_contacted=rule)
        name = f"who was texted: {rule}"
        yield Question(
            name=f"preview of a draft, {name}",
            ask=get(f"{path}/preview", method="POST"),
            wanted=5_000,
            share=0.05,
        )
        yield Question(
            name=f"forecast of a draft, {name}",
            ask=get(f"{path}/forecast"),
            wanted=1_000,
            share=0.05,
        )


def _search(searches: Sequence[str]) -> Ask:
    return get("/v1/contacts", [{"q": q} for q in searches])


def _pages(places: Sequence[Any]) -> Ask:
    """Return a request for pages that begin at random positions, in three sort orders."""
    queries = []
    for number, place in enumerate(places):
        sort = (ContactSort.NEWEST, ContactSort.CREATED, ContactSort.NAME)[number % 3]
        key = place.sort_name if sort is ContactSort.NAME else place.created_at
        cursor = Cursors("contacts", wanted=ContactFilter(), sort=sort).write(key, place.id)
        queries.append({"sort": sort.value, "cursor": cursor})
    return get("/v1/contacts", queries)


def _draft(client: httpx.Client, subject: Subject, *, previously_contacted: str) -> str:
    """Create a draft of a campaign to the list, and return its path in the API."""
    body = {
        "name": f"Preview {previously_contacted}",
        "line_id": str(subject.line_id),
        "audience": {"list_id": str(subject.list_id)},
        "variants": [
            {"name": "A", "body": population.BODY, "weight": 50},
            {"name": "B", "body": "Hello! 👋 " + population.BODY, "weight": 50},
        ],
        "rules": {"previously_contacted": previously_contacted},
    }
    answer = client.post("/v1/campaigns", json=body)
    answer.raise_for_status()
    return f"/v1/campaigns/{answer.json()['id']}"
