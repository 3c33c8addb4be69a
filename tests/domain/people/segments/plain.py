"""A plain Python evaluation of segment filters, with which the SQL must agree.

This module shares no code with the parser and the compiler of filters. It reads the JSON of a
filter as it is.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

NEGATIVES = {
    "ne": "eq",
    "not_in": "in",
    "not_contains": "contains",
    "not_within_last": "within_last",
    "is_not_empty": "is_empty",
}
UNITS = {"hours": 3_600, "days": 86_400, "weeks": 604_800}
TEXTS = {
    *("first_name", "last_name", "email", "company", "street", "city", "state"),
    *("postal_code", "country", "timezone", "source"),
}


@dataclass(frozen=True, kw_only=True)
class PlainConversation:
    """A conversation with the person.

    Attributes:
        is_unassigned: The conversation began before the number belonged to a contact.
    """

    outgoing_at: datetime | None
    incoming_at: datetime | None
    is_unassigned: bool


@dataclass(frozen=True, kw_only=True)
class PlainRecipient:
    """The person as a recipient of one step of a campaign."""

    campaign_id: str
    step: int
    status: str
    has_replied: bool


@dataclass(frozen=True, kw_only=True)
class IncomingActivity:
    """A message or a call from the person; only a message has a reply class."""

    at: datetime
    reply_class: str | None
    is_call: bool = False


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person, with the data that the rules of filters use."""

    phone: str
    texts: dict[str, str | None]
    tags: list[str]
    attributes: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    lists: set[str] = field(default_factory=set)
    flags: dict[str, datetime | None] = field(default_factory=dict)
    """The expiry of each flag; None means that the flag never expires."""
    conversations: list[PlainConversation] = field(default_factory=list)
    recipients: list[PlainRecipient] = field(default_factory=list)
    incoming: list[IncomingActivity] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    """Kinds of the person's outcomes, such as ``job_done``."""


def matches(node: dict[str, Any], person: Person, now: datetime) -> bool:
    """Return whether a filter matches a person."""
    if "all" in node:
        return all(matches(one, person, now) for one in node["all"])
    if "any" in node:
        return any(matches(one, person, now) for one in node["any"])
    if "not" in node:
        return not matches(node["not"], person, now)
    op = node["op"]
    if op in NEGATIVES:
        return not matches(node | {"op": NEGATIVES[op]}, person, now)
    return _matches_rule(node["field"], op, node.get("value"), person, now)


def lower(text: str) -> str:
    """Convert each letter to lower case separately, as PostgreSQL does."""
    return "".join(
        letter.lower() if len(letter.lower()) == 1 else letter.lower()[0] for letter in text
    )


def _matches_rule(name: str, op: str, value: Any, person: Person, now: datetime) -> bool:
    active = {flag for flag, end in person.flags.items() if end is None or end > now}
    sets = {"tags": set(person.tags), "lists": person.lists, "flags": active}
    if name in TEXTS:
        is_match = _match_text(op, person.texts.get(name), value)
    elif name.startswith("attributes."):
        stored = person.attributes.get(name.removeprefix("attributes."))
        is_match = _match_attribute(op, stored, value, now)
    elif name == "phone":
        is_match = _match_phone(op, person.phone, value)
    elif name in sets:
        is_match = _match_set(op, sets[name], value)
    elif name == "opted_out":
        is_match = ("opted_out" in active) is value
    elif name == "engagement_score":
        is_match = _match_number(op, Decimal(score(person, now)), value)
    elif name == "engagement_grade":
        is_match = grade(score(person, now)) in (value if isinstance(value, list) else [value])
    elif name == "reply_class":
        last = last_class(person)
        wanted = value if isinstance(value, list) else [value]
        is_match = last is None if op == "is_empty" else last is not None and last in wanted
    elif name == "campaigns":
        is_match = any(_is_named(recipient, value) for recipient in person.recipients)
    else:
        is_match = _match_instant(op, _instant(name, person), value, now)
    return is_match


def score(person: Person, now: datetime) -> int:
    """Return the engagement score of a person who got no campaign message."""
    ends = [end for flag, end in person.flags.items() if flag == "opted_out"]
    if any(end is None or end > now for end in ends):
        return 0
    points = 5 * min(4, sum(not one.is_call for one in person.incoming))
    if person.incoming:
        age = max(now - max(one.at for one in person.incoming), timedelta())
        points += round(40 * 0.5 ** (age / timedelta(days=30)))
    if {"appointment_booked", "quote_sent"} & {*person.outcomes}:
        points += 15
    if {"job_done", "invoice_paid"} & {*person.outcomes}:
        points += 25
    return min(points, 100)


def grade(points: int) -> str:
    return "EDCBA"[min(points // 20, 4)]


def last_class(person: Person) -> str | None:
    replies = [one for one in person.incoming if not one.is_call]
    return max(replies, key=lambda one: one.at).reply_class if replies else None


def _match_text(op: str, text: str | None, value: Any) -> bool:
    if op == "is_empty":
        return not text
    if text is None:
        return False
    compared: dict[str, Callable[[str, str], bool]] = {
        "eq": str.__eq__,
        "in": str.__eq__,
        "contains": str.__contains__,
        "starts_with": str.startswith,
        "ends_with": str.endswith,
    }
    wanted = value if isinstance(value, list) else [value]
    return any(compared[op](lower(text), lower(one)) for one in wanted)


def _match_phone(op: str, phone: str, value: Any) -> bool:
    if op == "starts_with":
        return phone.startswith(value)
    return phone in (value if isinstance(value, list) else [value])


def _match_set(op: str, has: set[str], value: Any) -> bool:
    if op == "is_empty":
        return not has
    if op == "contains":
        return value in has
    found = [one in has for one in value]
    return any(found) if op == "contains_any" else all(found)


def _is_named(recipient: PlainRecipient, value: dict[str, Any]) -> bool:
    return (
        recipient.campaign_id == value["campaign_id"]
        and recipient.step == value.get("step", 0)
        and recipient.status in value.get("status", [recipient.status])
        and recipient.has_replied is value.get("replied", recipient.has_replied)
    )


def _instant(name: str, person: Person) -> datetime | None:
    if name == "created_at":
        return person.created_at
    if name == "updated_at":
        return person.updated_at
    if name == "last_contacted_at":
        return _newest(one.outgoing_at for one in person.conversations)
    return _newest(one.incoming_at for one in person.conversations)


def _newest(instants: Iterable[datetime | None]) -> datetime | None:
    return max((one for one in instants if one is not None), default=None)


def _distance(value: dict[str, int]) -> timedelta:
    ((unit, amount),) = value.items()
    return timedelta(seconds=UNITS[unit] * amount)


def _match_instant(op: str, at: datetime | None, value: Any, now: datetime) -> bool:
    if op == "is_empty":
        return at is None
    if at is None:
        return False
    if op == "within_last":
        return at >= now - _distance(value)
    if op == "between":
        low, high = (datetime.fromisoformat(one) for one in value)
        return low <= at <= high
    edge = datetime.fromisoformat(value)
    return at < edge if op == "before" else at > edge


_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[T ].*)?", re.DOTALL)
_NUMBER = re.compile(r" *[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})? *")


def _match_attribute(op: str, stored: Any, value: Any, now: datetime) -> bool:
    if op == "is_empty":
        is_blank = isinstance(stored, str) and not stored.strip(" \t\n")
        return stored is None or is_blank or stored in ([], {})
    first = value[0] if isinstance(value, list) else value
    if isinstance(first, bool):
        text = stored.strip(" ") if isinstance(stored, str) else str(stored)
        return isinstance(stored, (bool, str)) and lower(text) == str(first).lower()
    if isinstance(first, (int, float)):
        return _match_number(op, _number(stored), value)
    if op in {"before", "after", "between", "within_last", "within_next"}:
        return _match_date(op, stored, value, now)
    if op == "contains" and isinstance(stored, list):
        return value in stored
    return isinstance(stored, str) and _match_text(op, stored, value)


def _number(stored: Any) -> Decimal | None:
    if isinstance(stored, str):
        return Decimal(stored.strip()) if _NUMBER.fullmatch(stored) else None
    is_number = isinstance(stored, (int, float)) and not isinstance(stored, bool)
    return Decimal(repr(stored)) if is_number else None


def _match_number(op: str, number: Decimal | None, value: Any) -> bool:
    if number is None:
        return False
    wanted = [Decimal(repr(one)) for one in (value if isinstance(value, list) else [value])]
    if op == "between":
        return wanted[0] <= number <= wanted[1]
    return {
        "eq": number in wanted,
        "in": number in wanted,
        "gt": number > wanted[0],
        "gte": number >= wanted[0],
        "lt": number < wanted[0],
        "lte": number <= wanted[0],
    }[op]


def _match_date(op: str, stored: Any, value: Any, now: datetime) -> bool:
    if not isinstance(stored, str) or not _DATE.fullmatch(stored):
        return False
    day, today = stored[:10], now.astimezone(UTC)
    if op == "before":
        return day < str(value)
    if op == "after":
        return day > str(value)
    if op == "between":
        return bool(value[0] <= day <= value[1])
    other = today - _distance(value) if op == "within_last" else today + _distance(value)
    low, high = sorted([today.date().isoformat(), other.date().isoformat()])
    return low <= day <= high
