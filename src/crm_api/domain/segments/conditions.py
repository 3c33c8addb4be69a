"""The condition of one rule, by the kind of its field, with its positive operator."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from crm_api.domain.consent.models import FlagType
from crm_api.domain.segments.attributes import attribute_condition
from crm_api.domain.segments.catalogue import Kind
from crm_api.domain.segments.making import Making
from crm_api.domain.segments.tree import Distance, Membership, Rule
from crm_api.domain.segments.words import word_condition

TALK_TIMES = {"last_contacted_at": "last_outgoing_at", "last_replied_at": "last_incoming_at"}
"""The columns of a conversation that tell of a contact."""


def _text(making: Making, rule: Rule) -> str:
    column = f"c.{rule.field}"
    if rule.op == "is_empty":
        return f"{column} IS NULL OR {column} = ''"
    texts = [making.bind(value, "text") for value in _listed(rule)]
    return word_condition(rule.op, column, texts)


def _phone(making: Making, rule: Rule) -> str:
    if rule.op == "starts_with":
        return f"starts_with(c.phone, {making.bind(rule.value, 'text')})"
    return f"c.phone = ANY({making.bind(_listed(rule), 'text[]')})"


def _tags(making: Making, rule: Rule) -> str:
    if rule.op == "is_empty":
        return "cardinality(c.tags) = 0"
    among = "&&" if rule.op == "contains_any" else "@>"
    return f"c.tags {among} {making.bind(_listed(rule), 'text[]')}"


def _lists(making: Making, rule: Rule) -> str:
    def on(condition: str) -> str:
        return making.exists(
            f"contact_list_member l WHERE l.contact_id = c.id{condition}",
        )

    if rule.op == "is_empty":
        return f"NOT {on('')}"
    if rule.op == "contains_any":
        return on(f" AND l.list_id = ANY({making.bind(_listed(rule), 'uuid[]')})")
    return " AND ".join(
        on(f" AND l.list_id = {making.bind(value, 'uuid')}") for value in _listed(rule)
    )


def flag_exists(making: Making, condition: str) -> str:
    """Ask for a flag that stands on the number now."""
    return making.exists(
        "contact_flag f WHERE f.phone = c.phone"
        f" AND (f.expires_at IS NULL OR f.expires_at > {making.bind(making.now, 'timestamptz')})"
        f"{condition}"
    )


def _flags(making: Making, rule: Rule) -> str:
    if rule.op == "is_empty":
        return f"NOT {flag_exists(making, '')}"
    if rule.op == "contains_any":
        flags = making.bind(_listed(rule), "text[]")
        return flag_exists(making, f" AND f.flag_type = ANY({flags})")
    return " AND ".join(
        flag_exists(making, f" AND f.flag_type = {making.bind(value, 'text')}")
        for value in _listed(rule)
    )


def _opted_out(making: Making, rule: Rule) -> str:
    # Written out, so that the index of suppressing flags may be taken.
    stands = flag_exists(making, f" AND f.flag_type = '{FlagType.OPTED_OUT}'")
    return stands if rule.value else f"NOT {stands}"


def _instant(making: Making, rule: Rule) -> str:
    column = f"c.{rule.field}"
    if rule.op == "between":
        low, high = (making.bind(value, "timestamptz") for value in _listed(rule))
        return f"{column} BETWEEN {low} AND {high}"
    if rule.op == "within_last":
        return f"{column} >= {_so_long_ago(making, rule)}"
    sign = "<" if rule.op == "before" else ">"
    return f"{column} {sign} {making.bind(rule.value, 'timestamptz')}"


def _so_long_ago(making: Making, rule: Rule) -> str:
    distance = cast("Distance", rule.value)
    return making.bind(making.now - timedelta(seconds=distance.seconds), "timestamptz")


def _contact_instant(making: Making, rule: Rule) -> str:
    """Ask for the newest of several conversations: one is late enough, and none too late."""
    column = f"k.{TALK_TIMES[rule.field]}"
    if rule.op == "is_empty":
        return f"NOT {_talked(making, f'{column} IS NOT NULL')}"
    if rule.op == "within_last":
        return _talked(making, f"{column} >= {_so_long_ago(making, rule)}")
    if rule.op == "between":
        low, high = (making.bind(value, "timestamptz") for value in _listed(rule))
        late, later = f"{column} >= {low}", f"{column} > {high}"
        return f"{_talked(making, late)} AND NOT {_talked(making, later)}"
    at = making.bind(rule.value, "timestamptz")
    if rule.op == "after":
        return _talked(making, f"{column} > {at}")
    return (
        f"{_talked(making, f'{column} IS NOT NULL')} AND NOT {_talked(making, f'{column} >= {at}')}"
    )


def _talked(making: Making, when: str) -> str:
    """Ask for a conversation with the person; one from before the number was theirs is given them.

    ``migrations`` has the triggers that do this.
    """
    return making.exists(f"conversation k WHERE k.contact_id = c.id AND {when}")


def _campaigns(making: Making, rule: Rule) -> str:
    wanted = cast("Membership", rule.value)
    condition = membership_condition(making, wanted)
    if wanted.statuses is not None:
        condition += f" AND m.status = ANY({making.bind(list(wanted.statuses), 'text[]')})"
    if wanted.has_replied is not None:
        condition += f" AND m.replied_at IS {'NOT ' if wanted.has_replied else ''}NULL"
    return making.exists(f"campaign_membership m WHERE {condition}")


def membership_condition(making: Making, wanted: Membership) -> str:
    """Name one recipient's row of a campaign and step."""
    return (
        f"m.campaign_id = {making.bind(wanted.campaign_id, 'uuid')}"
        f" AND m.step = {making.bind(wanted.step, 'smallint')} AND m.contact_id = c.id"
    )


def _listed(rule: Rule) -> list[Any]:
    return list(rule.value) if isinstance(rule.value, tuple) else [rule.value]


CONDITIONS: dict[Kind, Callable[[Making, Rule], str]] = {
    Kind.TEXT: _text,
    Kind.PHONE: _phone,
    Kind.TAGS: _tags,
    Kind.LISTS: _lists,
    Kind.FLAGS: _flags,
    Kind.BOOLEAN: _opted_out,
    Kind.INSTANT: _instant,
    Kind.CONTACT_INSTANT: _contact_instant,
    Kind.CAMPAIGNS: _campaigns,
    Kind.ATTRIBUTE: attribute_condition,
}
