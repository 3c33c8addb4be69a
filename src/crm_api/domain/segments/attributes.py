"""Conditions on attributes: the type of the rule's value says how the stored one is taken.

A text is compared with texts; a number with numbers and with texts that are one, as files bring
them; ``true`` with ``true`` and ``"true"``; a date with texts that begin with one. What is stored
in another type does not fit.
"""

from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import cast

from crm_api.domain.segments.making import Making
from crm_api.domain.segments.tree import Distance, Rule
from crm_api.domain.segments.words import word_condition

NUMBER = r"^ *[+-]?[0-9]{1,30}(\.[0-9]{1,30})? *$"
"""A text that is taken for a number."""
DATE = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])($|[T ])"
"""A text that begins with a date; compared as text, which has the order of time."""
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}


def attribute_condition(making: Making, rule: Rule) -> str:
    """Make the condition of a rule on an attribute; NULL where it is missing."""
    name = making.bind(rule.attribute, "text")
    stored, text = f"(c.attributes -> {name})", f"(c.attributes ->> {name})"
    if rule.op == "is_empty":
        blanks = "'null', '[]', '{}'"
        return f"{stored} IS NULL OR {stored} IN ({blanks}) OR btrim({text}, E' \\t\\n') = ''"
    values = list(rule.value) if isinstance(rule.value, tuple) else [rule.value]
    if isinstance(values[0], bool):
        return _boolean(making, stored, text, value=values[0])
    if isinstance(values[0], Decimal):
        return _number(making, rule, stored, text)
    if isinstance(values[0], (date, Distance)):
        return _date(making, rule, stored, text)
    words = [making.bind(value, "text") for value in values]
    condition = f"(jsonb_typeof({stored}) = 'string' AND {word_condition(rule.op, text, words)})"
    if rule.op == "contains":
        listed = f"{stored} @> to_jsonb({words[0]})"
        return f"({condition} OR (jsonb_typeof({stored}) = 'array' AND {listed}))"
    return condition


def _boolean(making: Making, stored: str, text: str, *, value: bool) -> str:
    wanted = making.bind("true" if value else "false", "text")
    return f"jsonb_typeof({stored}) IN ('boolean', 'string') AND lower(btrim({text})) = {wanted}"


def _number(making: Making, rule: Rule, stored: str, text: str) -> str:
    # CASE, because a text that is no number must not meet the cast.
    number = (
        f"CASE jsonb_typeof({stored}) WHEN 'number' THEN CAST({stored} AS numeric)"
        f" WHEN 'string' THEN CASE WHEN {text} ~ {making.bind(NUMBER, 'text')}"
        f" THEN CAST({text} AS numeric) END END"
    )
    values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    if rule.op == "in":
        return f"{number} = ANY({making.bind(list(values), 'numeric[]')})"
    numbers = [making.bind(value, "numeric") for value in values]
    if rule.op == "between":
        return f"{number} BETWEEN {numbers[0]} AND {numbers[1]}"
    return f"{number} {_SIGNS[rule.op]} {numbers[0]}"


def _date(making: Making, rule: Rule, stored: str, text: str) -> str:
    day = (
        f"CASE WHEN jsonb_typeof({stored}) = 'string' AND {text} ~ {making.bind(DATE, 'text')}"
        f' THEN left({text}, 10) COLLATE "C" END'
    )
    if rule.op == "before":
        return f"{day} < {making.bind(cast('date', rule.value).isoformat(), 'text')}"
    if rule.op == "after":
        return f"{day} > {making.bind(cast('date', rule.value).isoformat(), 'text')}"
    first, last = (making.bind(one.isoformat(), "text") for one in dates_of(making, rule))
    return f"{day} BETWEEN {first} AND {last}"


def dates_of(making: Making, rule: Rule) -> tuple[date, date]:
    """Return the first and the last date, in UTC, that fit a rule on a span of them."""
    if isinstance(rule.value, tuple):
        first, last = cast("tuple[date, date]", rule.value)
        return first, last
    distance = timedelta(seconds=cast("Distance", rule.value).seconds)
    today = making.now.astimezone(UTC)
    if rule.op == "within_next":
        return today.date(), (today + distance).date()
    return (today - distance).date(), today.date()
