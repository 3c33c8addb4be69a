"""Hypothesis strategies for random people and filters.

They use few different values, so that filters often match.
"""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from tests.conftest import NOW
from tests.domain.people.segments.plain import (
    TEXTS,
    IncomingActivity,
    Person,
    PlainConversation,
    PlainRecipient,
)
from tests.factories import number

LISTS = [f"11111111-1111-4111-8111-11111111111{n}" for n in range(2)]
CAMPAIGNS = [f"22222222-2222-4222-8222-22222222222{n}" for n in range(2)]
STATUSES = ["pending", "sent", "delivered", "failed", "skipped"]
WORDS = [
    *("Ada", "ADA", "ada", "Ad", "José", "JOSÉ", "Jose", "Jose\u0301", "Straße", "STRASSE"),
    *("İzmir", "izmir", "ΣΙΣ", "σις", "50%", "a_b", "a\\b", "O'Brien", "日本", "MA", ":x", "x y"),
]
TAGS = ["vip", "VIP", "crawl space", "x"]
FLAGS = ["opted_out", "do_not_contact", "office_number", "my flag"]
NAMES = ["year_built", "a.b c", "Zustand"]
DAYS = ["2026-10-26", "2026-11-24", "2026-11-25", "2026-11-26", "2026-12-25", "2026-02-31"]
STORED = [
    *(None, "", " ", "\t", 0, 1, -1.5, 1960, 1e300, 10**14, True, False, [], ["vip"], {}, {"a": 1}),
    *("1", " 1 ", "+1", "1.0", "1960", "-1.50", "1,960", "1e3", "\u00a01", "true", " TRUE", "abc"),
    *(*DAYS, "2026-11-25T10:00:00Z", "2026-11-255", "2026-13-01", *WORDS[:6], ["Ada", 1]),
]
_EDGE = timedelta(days=30)
MOMENTS = [
    NOW + shift + tick
    for shift in (timedelta(), -_EDGE, -timedelta(hours=5), timedelta(hours=1), -timedelta(weeks=9))
    for tick in (timedelta(), timedelta(microseconds=1), timedelta(microseconds=-1))
]
DISTANCES = [{"days": 30}, {"hours": 5}, {"weeks": 9}, {"days": 1}]

_moment = st.sampled_from(MOMENTS)
_maybe_moment = st.none() | _moment
_conversation = st.builds(
    PlainConversation,
    outgoing_at=_maybe_moment,
    incoming_at=_maybe_moment,
    is_unassigned=st.booleans(),
)

CLASSES = ["interested", "later", "stop"]
OUTCOMES = ["appointment_booked", "quote_sent", "job_done", "invoice_paid", "custom"]
SCORES = [0, 5, 15, 20, 20.5, 39, 40, 60, 75, 80, 100]
_incoming = st.builds(
    IncomingActivity,
    at=_moment,
    reply_class=st.none() | st.sampled_from(CLASSES),
    is_call=st.just(value=False),
) | st.builds(IncomingActivity, at=_moment, reply_class=st.none(), is_call=st.just(value=True))


def _make_recipients(draws: dict[tuple[str, int], tuple[str, bool]]) -> list[PlainRecipient]:
    return [
        PlainRecipient(campaign_id=campaign_id, step=step, status=status, has_replied=has_replied)
        for (campaign_id, step), (status, has_replied) in draws.items()
    ]


_person = st.builds(
    Person,
    phone=st.just(""),
    texts=st.fixed_dictionaries(
        {"source": st.sampled_from(WORDS)},
        optional={name: st.sampled_from(WORDS) for name in sorted(TEXTS - {"source"})},
    ),
    tags=st.lists(st.sampled_from(TAGS), unique=True),
    attributes=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(STORED)),
    created_at=_moment,
    updated_at=_moment,
    lists=st.sets(st.sampled_from(LISTS)),
    flags=st.dictionaries(st.sampled_from(FLAGS), _maybe_moment),
    conversations=st.lists(_conversation, max_size=2),
    recipients=st.dictionaries(
        st.tuples(st.sampled_from(CAMPAIGNS), st.integers(0, 1)),
        st.tuples(st.sampled_from(STATUSES), st.booleans()),
    ).map(_make_recipients),
    incoming=st.lists(_incoming, max_size=5, unique_by=lambda one: one.at),
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=2),
)
people = st.lists(_person, min_size=1, max_size=8)


def _rule(field: str, op: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return value.map(lambda drawn: {"field": field, "op": op, "value": drawn})


def _some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


def _pair(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=2, max_size=2).map(sorted)


_TIMES: dict[str, st.SearchStrategy[Any]] = {
    "before": st.sampled_from(MOMENTS).map(str),
    "after": st.sampled_from(MOMENTS).map(str),
    "between": _pair(MOMENTS).map(lambda two: [str(one) for one in two]),
    "within_last": st.sampled_from(DISTANCES),
    "not_within_last": st.sampled_from(DISTANCES),
}
_EMPTINESS: dict[str, st.SearchStrategy[Any]] = {
    "is_empty": st.none(),
    "is_not_empty": st.none(),
}


def _words(values: list[str]) -> dict[str, st.SearchStrategy[Any]]:
    one, some = st.sampled_from(values), _some(values)
    return {
        **dict.fromkeys(("eq", "ne", "contains", "not_contains", "starts_with", "ends_with"), one),
        **dict.fromkeys(("in", "not_in"), some),
    }


def _set(values: list[str]) -> dict[str, st.SearchStrategy[Any]]:
    one, some = st.sampled_from(values), _some(values)
    return {
        **dict.fromkeys(("contains", "not_contains"), one),
        **dict.fromkeys(("contains_any", "contains_all"), some),
        **_EMPTINESS,
    }


NUMBERS: list[float] = [0, 1, -1.5, 1960, 1959.5, 10**14]
PHONES = [number(position) for position in range(4)]
_MEMBERSHIP = st.fixed_dictionaries(
    {"campaign_id": st.sampled_from(CAMPAIGNS)},
    optional={
        "step": st.integers(0, 1),
        "status": _some(STATUSES),
        "replied": st.booleans(),
    },
)
_ATTRIBUTE: dict[str, st.SearchStrategy[Any]] = {
    **_words([*WORDS[:8], "1", "true"]),
    "eq": st.sampled_from([*NUMBERS, True, False, *WORDS[:4], "1"]),
    "ne": st.sampled_from([*NUMBERS, True, False, *WORDS[:4], "1"]),
    "in": _some(NUMBERS) | _some(WORDS[:6]),
    **dict.fromkeys(("gt", "gte", "lt", "lte"), st.sampled_from(NUMBERS)),
    "between": _pair(NUMBERS) | _pair(DAYS[:5]),
    **dict.fromkeys(("before", "after"), st.sampled_from(DAYS[:5])),
    **dict.fromkeys(("within_last", "not_within_last", "within_next"), st.sampled_from(DISTANCES)),
    **_EMPTINESS,
}
OPERATORS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    **{name: {**_words(WORDS), **_EMPTINESS} for name in sorted(TEXTS)},
    "phone": {
        **dict.fromkeys(("eq", "ne"), st.sampled_from(PHONES)),
        **dict.fromkeys(("in", "not_in"), _some(PHONES)),
        "starts_with": st.sampled_from(["+1617", "+1", "617", PHONES[0]]),
    },
    "tags": _set(TAGS),
    "lists": _set(LISTS),
    "flags": _set(FLAGS),
    "opted_out": {"eq": st.booleans()},
    **dict.fromkeys(("created_at", "updated_at"), _TIMES),
    **{name: {**_TIMES, **_EMPTINESS} for name in ("last_contacted_at", "last_replied_at")},
    "campaigns": dict.fromkeys(("contains", "not_contains"), _MEMBERSHIP),
    "engagement_score": {
        **dict.fromkeys(("eq", "ne", "gt", "gte", "lt", "lte"), st.sampled_from(SCORES)),
        **dict.fromkeys(("in", "not_in"), _some(SCORES)),
        "between": _pair(SCORES),
    },
    "engagement_grade": {
        **dict.fromkeys(("eq", "ne"), st.sampled_from("ABCDE")),
        **dict.fromkeys(("in", "not_in"), _some(list("ABCDE"))),
    },
    "reply_class": {
        **dict.fromkeys(("eq", "ne"), st.sampled_from(CLASSES)),
        **dict.fromkeys(("in", "not_in"), _some(CLASSES)),
        **_EMPTINESS,
    },
    **{f"attributes.{name}": _ATTRIBUTE for name in NAMES},
}

_FAMILIES = [
    *(["first_name"], ["city", "state", "source", "timezone"], ["phone"], ["tags"], ["lists"]),
    *(["flags"], ["opted_out"], ["created_at", "updated_at"], ["last_contacted_at"]),
    *(["last_replied_at"], ["campaigns"], [f"attributes.{name}" for name in NAMES]),
    *(["engagement_score", "engagement_grade"], ["reply_class"]),
]
"""Groups of fields; the strategy draws each group equally often."""


def rules_of(field: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for the rules on this field."""
    return st.one_of([_rule(field, op, value) for op, value in OPERATORS[field].items()])


rules = st.one_of([st.sampled_from(family).flatmap(rules_of) for family in _FAMILIES])
filters = st.recursive(
    rules,
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=3).map(lambda some: {"all": some}),
        st.lists(below, min_size=1, max_size=3).map(lambda some: {"any": some}),
        below.map(lambda one: {"not": one}),
    ),
    max_leaves=6,
)
