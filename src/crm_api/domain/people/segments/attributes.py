"""Compile a rule on a contact attribute to SQL.

The type of the rule's value decides how it is compared with stored values. A string is compared
with strings. A number is compared with numbers and with numeric strings, which imported files
contain. ``true`` is compared with ``true`` and ``"true"``. A date is compared with strings that
begin with a date. A stored value of another type does not match.
"""

from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import cast

from crm_api.domain.people.segments.condition_builder import ConditionBuilder, word_condition
from crm_api.domain.people.segments.tree import Distance, Rule

NUMBER = r"^ *[+-]?[0-9]{1,30}(\.[0-9]{1,30})? *$"
"""Matches a string that is compared as a number."""
DATE = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])($|[T ])"
"""Matches a string that begins with an ISO date. Such strings sort in the order of time."""
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}


def attribute_condition(builder: ConditionBuilder, rule: Rule) -> str:
    """Return the SQL condition of a rule on an attribute.

    The condition is NULL for contacts without the attribute.
    """
    name = builder.bind(rule.attribute, "text")
    stored, text = f"(c.attributes -> {name})", f"(c.attributes ->> {name})"
    if rule.op == "is_empty":
        blanks = "'null', '[]', '{}'"
        return f"{stored} IS NULL OR {stored} IN ({blanks}) OR btrim({text}, E' \\t\\n') = ''"
    values = list(rule.value) if isinstance(rule.value, tuple) else [rule.value]
    if isinstance(values[0], bool):
        return _boolean(builder, stored, text, value=values[0])
    if isinstance(values[0], Decimal):
        return _number(builder, rule, stored, text)
    if isinstance(values[0], (date, Distance)):
        return _date(builder, rule, stored, text)
    words = [builder.bind(value, "text") for value in values]
    condition = f"(jsonb_typeof({stored}) = 'string' AND {word_condition(rule.op, text, words)})"
    if rule.op == "contains":
        listed = f"{stored} @> to_jsonb({words[0]})"
        return f"({condition} OR (jsonb_typeof({stored}) = 'array' AND {listed}))"
    return condition


def _boolean(builder: ConditionBuilder, stored: str, text: str, *, value: bool) -> str:
    wanted = builder.bind("true" if value else "false", "text")
    return f"jsonb_typeof({stored}) IN ('boolean', 'string') AND lower(btrim({text})) = {wanted}"


def _number(builder: ConditionBuilder, rule: Rule, stored: str, text: str) -> str:
    # CASE, because the cast fails for a string that is not a number.
    number = (
        f"CASE jsonb_typeof({stored}) WHEN 'number' THEN CAST({stored} AS numeric)"
        f" WHEN 'string' THEN CASE WHEN {text} ~ {builder.bind(NUMBER, 'text')}"
        f" THEN CAST({text} AS numeric) END END"
    )
    return number_condition(builder, rule, number)


def number_condition(builder: ConditionBuilder, rule: Rule, number: str) -> str:
    """Return the SQL condition of a rule that compares a number.

    Args:
        builder: Collects the bind values.
        rule: The rule.
        number: The SQL expression of the contact's number, which is compared with the rule's value.
    """
    values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    if rule.op == "in":
        return f"{number} = ANY({builder.bind(list(values), 'numeric[]')})"
    numbers = [builder.bind(value, "numeric") for value in values]
    if rule.op == "between":
        return f"{number} BETWEEN {numbers[0]} AND {numbers[1]}"
    return f"{number} {_SIGNS[rule.op]} {numbers[0]}"


def _date(builder: ConditionBuilder, rule: Rule, stored: str, text: str) -> str:
    day = (
        f"CASE WHEN jsonb_typeof({stored}) = 'string' AND {text} ~ {builder.bind(DATE, 'text')}"
        f' THEN left({text}, 10) COLLATE "C" END'
    )
    if rule.op == "before":
        return f"{day} < {builder.bind(cast('date', rule.value).isoformat(), 'text')}"
    if rule.op == "after":
        return f"{day} > {builder.bind(cast('date', rule.value).isoformat(), 'text')}"
    first, last = (builder.bind(one.isoformat(), "text") for one in dates_of(builder, rule))
    return f"{day} BETWEEN {first} AND {last}"


def dates_of(builder: ConditionBuilder, rule: Rule) -> tuple[date, date]:
    """Return the first and the last date (UTC) that match a rule about a range of dates."""
    if isinstance(rule.value, tuple):
        first, last = cast("tuple[date, date]", rule.value)
        return first, last
    distance = timedelta(seconds=cast("Distance", rule.value).seconds)
    today = builder.now.astimezone(UTC)
    if rule.op == "within_next":
        return today.date(), (today + distance).date()
    return (today - distance).date(), today.date()
