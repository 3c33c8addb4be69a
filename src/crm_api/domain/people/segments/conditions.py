"""Write the SQL condition of one rule of a segment, with one function for each kind of field.

For ``ne``, this module writes the condition of ``eq``; ``compiler.py`` negates it.

A rule on an attribute compares the attributes of contacts with the value of the rule. The type of
the rule's value decides which attributes can match:

- String: strings can match. With ``contains``, arrays of strings can match too.
- Number: numbers can match, and strings that contain only a number.
- Boolean: booleans can match, and the strings ``true`` and ``false``.
- Date: strings that begin with a date can match.
"""

from collections.abc import Callable
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Any, cast

from crm_api.domain.consent.models import FlagType
from crm_api.domain.people.segments.catalogue import SegmentFieldKind
from crm_api.domain.people.segments.condition_builder import ConditionBuilder, word_condition
from crm_api.domain.people.segments.engagement import (
    grade_sql,
    has_class_sql,
    last_class_sql,
    score_sql,
)
from crm_api.domain.people.segments.tree import Distance, Membership, Rule

NUMBER = r"^ *[+-]?[0-9]{1,30}(\.[0-9]{1,30})? *$"
"""Regular expression for a string that is compared as a number."""
DATE = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])($|[T ])"
"""Regular expression for a string that begins with an ISO date. Sorted as text, such strings are in
the order of time."""
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}


def attribute_condition(builder: ConditionBuilder, rule: Rule) -> str:
    """Return the SQL condition of a rule about a contact attribute.

    If a contact does not have the attribute, the condition is NULL. Exception: With the operator
    ``is_empty``, the condition is then true.
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
    # CASE is needed, because the cast fails for a string that is not a number.
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
        number: The SQL expression that is compared with the rule's value, for example the
            expression of a contact's attribute.
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
    """Return the first and the last date (UTC) that match a rule with a range of dates."""
    if isinstance(rule.value, tuple):
        first, last = cast("tuple[date, date]", rule.value)
        return first, last
    distance = timedelta(seconds=cast("Distance", rule.value).seconds)
    today = builder.now.astimezone(UTC)
    if rule.op == "within_next":
        return today.date(), (today + distance).date()
    return (today - distance).date(), today.date()


CONVERSATION_TIMES = {
    "last_contacted_at": "last_outgoing_at",
    "last_replied_at": "last_incoming_at",
}
"""The column of ``conversation`` that contains the value of a field, by name of the field."""


def _text(builder: ConditionBuilder, rule: Rule) -> str:
    column = f"c.{rule.field}"
    if rule.op == "is_empty":
        return f"{column} IS NULL OR {column} = ''"
    texts = [builder.bind(value, "text") for value in _listed(rule)]
    return word_condition(rule.op, column, texts)


def _phone(builder: ConditionBuilder, rule: Rule) -> str:
    if rule.op == "starts_with":
        return f"starts_with(c.phone, {builder.bind(rule.value, 'text')})"
    return f"c.phone = ANY({builder.bind(_listed(rule), 'text[]')})"


def _tags(builder: ConditionBuilder, rule: Rule) -> str:
    if rule.op == "is_empty":
        return "cardinality(c.tags) = 0"
    among = "&&" if rule.op == "contains_any" else "@>"
    return f"c.tags {among} {builder.bind(_listed(rule), 'text[]')}"


def _lists(builder: ConditionBuilder, rule: Rule) -> str:
    def on(condition: str) -> str:
        return builder.exists(
            f"contact_list_member l WHERE l.contact_id = c.id{condition}",
        )

    if rule.op == "is_empty":
        return f"NOT {on('')}"
    if rule.op == "contains_any":
        return on(f" AND l.list_id = ANY({builder.bind(_listed(rule), 'uuid[]')})")
    return " AND ".join(
        on(f" AND l.list_id = {builder.bind(value, 'uuid')}") for value in _listed(rule)
    )


def flag_exists(builder: ConditionBuilder, condition: str) -> str:
    """Return the SQL condition that the contact's phone number has an active flag.

    Args:
        condition: SQL that begins with AND and limits the flags to look for; empty: any flag.
    """
    return builder.exists(
        "contact_flag f WHERE f.phone = c.phone"
        f" AND (f.expires_at IS NULL OR f.expires_at > {builder.bind(builder.now, 'timestamptz')})"
        f"{condition}"
    )


def _flags(builder: ConditionBuilder, rule: Rule) -> str:
    if rule.op == "is_empty":
        return f"NOT {flag_exists(builder, '')}"
    if rule.op == "contains_any":
        flags = builder.bind(_listed(rule), "text[]")
        return flag_exists(builder, f" AND f.flag_type = ANY({flags})")
    return " AND ".join(
        flag_exists(builder, f" AND f.flag_type = {builder.bind(value, 'text')}")
        for value in _listed(rule)
    )


def _opted_out(builder: ConditionBuilder, rule: Rule) -> str:
    # The flag is written into the SQL text, so that the planner can use the partial index of flags
    # that stop messages.
    opted_out = flag_exists(builder, f" AND f.flag_type = '{FlagType.OPTED_OUT}'")
    return opted_out if rule.value else f"NOT {opted_out}"


def _instant(builder: ConditionBuilder, rule: Rule) -> str:
    column = f"c.{rule.field}"
    if rule.op == "between":
        low, high = (builder.bind(value, "timestamptz") for value in _listed(rule))
        return f"{column} BETWEEN {low} AND {high}"
    if rule.op == "within_last":
        return f"{column} >= {_start_of_period(builder, rule)}"
    sign = "<" if rule.op == "before" else ">"
    return f"{column} {sign} {builder.bind(rule.value, 'timestamptz')}"


def _start_of_period(builder: ConditionBuilder, rule: Rule) -> str:
    distance = cast("Distance", rule.value)
    return builder.bind(builder.now - timedelta(seconds=distance.seconds), "timestamptz")


def _contact_instant(builder: ConditionBuilder, rule: Rule) -> str:
    """Return the condition of a rule about the contact's newest incoming or outgoing message.

    A contact may have several conversations, and each stores the times of its newest messages. The
    latest of these times must match the rule. The field of the rule names the direction.
    """
    column = f"k.{CONVERSATION_TIMES[rule.field]}"
    if rule.op == "is_empty":
        return f"NOT {_conversation_exists(builder, f'{column} IS NOT NULL')}"
    if rule.op == "within_last":
        return _conversation_exists(builder, f"{column} >= {_start_of_period(builder, rule)}")
    if rule.op == "between":
        low, high = (builder.bind(value, "timestamptz") for value in _listed(rule))
        late, later = f"{column} >= {low}", f"{column} > {high}"
        return (
            f"{_conversation_exists(builder, late)} AND NOT {_conversation_exists(builder, later)}"
        )
    at = builder.bind(rule.value, "timestamptz")
    if rule.op == "after":
        return _conversation_exists(builder, f"{column} > {at}")
    has_any = _conversation_exists(builder, f"{column} IS NOT NULL")
    has_later = _conversation_exists(builder, f"{column} >= {at}")
    return f"{has_any} AND NOT {has_later}"


def _conversation_exists(builder: ConditionBuilder, when: str) -> str:
    """Return the condition that the contact has a conversation for which ``when`` is true.

    A conversation that began before its contact was stored counts too, because a trigger assigns
    the conversation to the contact.
    """
    return builder.exists(f"conversation k WHERE k.contact_id = c.id AND {when}")


def _campaigns(builder: ConditionBuilder, rule: Rule) -> str:
    wanted = cast("Membership", rule.value)
    condition = membership_condition(builder, wanted)
    if wanted.statuses is not None:
        condition += f" AND m.status = ANY({builder.bind(list(wanted.statuses), 'text[]')})"
    if wanted.has_replied is not None:
        condition += f" AND m.replied_at IS {'NOT ' if wanted.has_replied else ''}NULL"
    return builder.exists(f"campaign_membership m WHERE {condition}")


def membership_condition(builder: ConditionBuilder, wanted: Membership) -> str:
    """Return the SQL condition that finds a contact's recipient row for one message of a campaign.

    The statement must have the tables ``campaign_membership m`` and ``contact c``. The fields
    ``statuses`` and ``has_replied`` of ``wanted`` are ignored.
    """
    return (
        f"m.campaign_id = {builder.bind(wanted.campaign_id, 'uuid')}"
        f" AND m.step = {builder.bind(wanted.step, 'smallint')} AND m.contact_id = c.id"
    )


def _score(builder: ConditionBuilder, rule: Rule) -> str:
    return number_condition(builder, rule, score_sql(builder))


def _grade(builder: ConditionBuilder, rule: Rule) -> str:
    return f"{grade_sql(builder)} = ANY({builder.bind(_listed(rule), 'text[]')})"


def _reply_class(builder: ConditionBuilder, rule: Rule) -> str:
    last = last_class_sql(builder)
    if rule.op == "is_empty":
        return f"({last}) IS NULL"
    classes = builder.bind(_listed(rule), "text[]")
    return f"{has_class_sql(builder, classes)} AND coalesce({last}, '') = ANY({classes})"


def _listed(rule: Rule) -> list[Any]:
    return list(rule.value) if isinstance(rule.value, tuple) else [rule.value]


CONDITIONS: dict[SegmentFieldKind, Callable[[ConditionBuilder, Rule], str]] = {
    SegmentFieldKind.TEXT: _text,
    SegmentFieldKind.PHONE: _phone,
    SegmentFieldKind.TAGS: _tags,
    SegmentFieldKind.LISTS: _lists,
    SegmentFieldKind.FLAGS: _flags,
    SegmentFieldKind.BOOLEAN: _opted_out,
    SegmentFieldKind.INSTANT: _instant,
    SegmentFieldKind.CONTACT_INSTANT: _contact_instant,
    SegmentFieldKind.CAMPAIGNS: _campaigns,
    SegmentFieldKind.NUMBER: _score,
    SegmentFieldKind.GRADE: _grade,
    SegmentFieldKind.REPLY_CLASS: _reply_class,
    SegmentFieldKind.ATTRIBUTE: attribute_condition,
}
