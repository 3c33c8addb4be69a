"""Example people, and filter rules with every operator and every value of these people."""

from itertools import pairwise
from typing import Any

from tests.domain.people.segments.plain import (
    IncomingActivity,
    Person,
    PlainConversation,
    PlainRecipient,
)
from tests.domain.people.segments.strategies import (
    CAMPAIGNS,
    CLASSES,
    DAYS,
    DISTANCES,
    FLAGS,
    LISTS,
    MOMENTS,
    NUMBERS,
    OPERATORS,
    OUTCOMES,
    PHONES,
    SCORES,
    STATUSES,
    STORED,
    TAGS,
    WORDS,
)

_POOLS: dict[str, list[Any]] = {
    **dict.fromkeys(("created_at", "updated_at", "last_contacted_at", "last_replied_at"), MOMENTS),
    "tags": TAGS,
    "lists": LISTS,
    "flags": FLAGS,
    "phone": PHONES,
    "first_name": WORDS,
    "engagement_score": SCORES,
    "engagement_grade": list("ABCDE"),
    "reply_class": CLASSES,
}
_FIXED: dict[str, list[Any]] = {
    **{op: [None] for op in ("is_empty", "is_not_empty")},
    **{op: [*DISTANCES] for op in ("within_last", "not_within_last", "within_next")},
}
_FURTHER: list[dict[str, Any]] = [
    *({}, {"step": 1}, {"replied": True}, {"replied": False}),
    *({"status": STATUSES[:2]}, {"status": STATUSES[2:4], "step": 1}),
]
EXAMPLE_PEOPLE = [
    Person(
        phone="",
        texts={"source": "api", "first_name": WORDS[position % (len(WORDS) + 1)]}
        if position % (len(WORDS) + 1) < len(WORDS)
        else {"source": "api"},
        tags=[tag for bit, tag in enumerate(TAGS) if position >> bit & 1],
        attributes={"year_built": stored} if stored != {"a": 1} else {},
        created_at=MOMENTS[position % len(MOMENTS)],
        updated_at=MOMENTS[position % len(MOMENTS)],
        lists={one for bit, one in enumerate(LISTS) if position >> bit & 1},
        flags={
            flag: [None, *MOMENTS][(position + bit) % 4]
            for bit, flag in enumerate(FLAGS)
            if position >> bit & 1
        },
        conversations=[
            PlainConversation(
                outgoing_at=[*MOMENTS, None][(position + index * 7) % (len(MOMENTS) + 1)],
                incoming_at=[*MOMENTS, None][(position * 3 + index) % (len(MOMENTS) + 1)],
                is_unassigned=bool((position >> index) & 1),
            )
            for index in range(position % 3)
        ],
        recipients=[
            PlainRecipient(
                campaign_id=CAMPAIGNS[position % 2],
                step=step,
                status=STATUSES[(position + step) % len(STATUSES)],
                has_replied=bool(position & 4),
            )
            for step in range(position % 3)
        ],
        incoming=[
            IncomingActivity(
                at=MOMENTS[(position + index) % len(MOMENTS)],
                reply_class=None if index == 2 else [*CLASSES, None][(position + index) % 4],
                is_call=index == 2,
            )
            for index in range(position % 5)
        ],
        outcomes=[OUTCOMES[(position + index) % len(OUTCOMES)] for index in range(position % 4)],
    )
    for position, stored in enumerate(STORED * 2)
]
"""Example people, of whom at least one person has each value."""


def _values_of(field: str, op: str) -> list[Any]:
    if op in _FIXED:
        return _FIXED[op]
    if field.startswith("attributes."):
        return _values_of_attributes(op)
    if field == "campaigns":
        return [{"campaign_id": one} | more for one in CAMPAIGNS for more in _FURTHER]
    if field == "opted_out":
        return [True, False]
    pool = [one if isinstance(one, (int, float)) else str(one) for one in _POOLS[field]]
    values: list[Any] = pool
    if (field, op) == ("phone", "starts_with"):
        values = ["+1617", "+1", "617", *pool]
    elif op == "between":
        values = [sorted([one, other]) for one in pool for other in pool[:3]]
    elif op in {"in", "not_in", "contains_any", "contains_all"}:
        values = [[one, other] for one, other in pairwise([*pool, pool[0]])]
    return values


def _values_of_attributes(op: str) -> list[Any]:
    words = [one for one in STORED if isinstance(one, str) and one.strip()]
    numbers, days = sorted(NUMBERS), DAYS[:5]
    values: list[Any] = words
    if op in {"gt", "gte", "lt", "lte"}:
        values = [*numbers]
    elif op in {"before", "after"}:
        values = [*days]
    elif op == "between":
        values = [list(two) for two in (*pairwise(numbers), *pairwise(days))]
    elif op in {"in", "not_in"}:
        values = [list(two) for two in (*pairwise(words), *pairwise(numbers))]
    elif op in {"eq", "ne"}:
        values = [*words, *numbers, True, False]
    return values


def every_rule(field: str) -> list[dict[str, Any]]:
    """Return a rule for each operator of a field with each value of the people and edge cases."""
    return [
        {"field": field, "op": op, "value": value}
        for op in OPERATORS[field]
        for value in _values_of(field, op)
    ]
