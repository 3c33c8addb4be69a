"""List the legal rules that are in force on a day, and the rules that begin or end in a period."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.legal_rules.rules import NO_RULES, SHIPPED, RuleBook
from crm_api.domain.consent.legal_rules.schemas import ComplianceRule, ComplianceRulesRead
from crm_api.domain.kit.errors import FieldProblem, InvalidError
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, ReadModel
from crm_api.domain.kit.zones import parse_zone_key
from crm_api.platform.database import UnitOfWork


class EmptyRuleSpanError(InvalidError):
    """The requested period has no day, because ``to`` is not later than ``from``."""

    code = "empty_rule_span"
    title = "Empty period"

    def __init__(self) -> None:
        detail = (
            "The period from `from` to `to` has no day. Choose a `to` that is later than `from`."
        )
        super().__init__(
            detail, errors=[FieldProblem(pointer="/to", code=self.code, detail=detail)]
        )


SAMPLE = 5
MOST_PLACES = 50

# This query finds the distinct zone keys (states and time zones) of all contacts. It needs one
# index lookup for each zone key, so its duration does not depend on the number of contacts (loose
# index scan).
_PLACES = text("""
    WITH RECURSIVE place AS (
        (SELECT zone_key FROM contact WHERE deleted_at IS NULL ORDER BY zone_key LIMIT 1)
        UNION ALL
        SELECT (SELECT c.zone_key FROM contact c
                WHERE c.deleted_at IS NULL AND c.zone_key > p.zone_key
                ORDER BY c.zone_key LIMIT 1)
        FROM place p WHERE p.zone_key IS NOT NULL
    )
    SELECT zone_key FROM place WHERE zone_key IS NOT NULL
""")
_COUNT = text("""
    SELECT zone_key, count(*) AS contacts FROM contact
    WHERE deleted_at IS NULL AND zone_key = ANY (CAST(:zone_keys AS text[])) GROUP BY zone_key
""")
_SAMPLE = text("""
    SELECT id, phone, first_name, last_name, city, state, zone_key FROM contact
    WHERE deleted_at IS NULL AND zone_key = ANY (CAST(:zone_keys AS text[]))
    ORDER BY zone_key LIMIT :limit
""")


class ChangeKind(StrEnum):
    """The kind of a change of the legal rules: a rule begins, or a rule ends.

    Attributes:
        BEGINS: The day of the change is the first day on which the rule is in force.
        ENDS: The day of the change is the first day on which the rule is no longer in force.
    """

    BEGINS = "begins"
    ENDS = "ends"


class AffectedContact(ReadModel):
    """A contact who is affected by a legal rule that begins or ends."""

    model_config = example(zone_key="MA/America/New_York")

    id: Id
    phone: str
    first_name: str | None
    last_name: str | None
    city: str | None
    state: str | None
    zone_key: str = Field(
        description="The states and time zones that are possible for the contact's phone number: "
        "states, a slash, time zones. `?` instead of the states means that no state is known."
    )


class AffectedPlace(ReadModel):
    """The states and time zones in which some contacts may be, and the number of these contacts.

    The rule change concerns these contacts.
    """

    model_config = example(zone_key="MA/America/New_York", contacts=211)

    zone_key: str = Field(
        description="The possible states, a slash, and the possible time zones of a phone number. "
        "`?` instead of the states means that no state is known, so the rules of every state apply."
    )
    contacts: int = Field(description="The number of contacts with this zone key.")


class RuleChangeRead(ReadModel):
    """A legal rule that begins or ends, and the contacts to whom the rule applies."""

    model_config = example(on="2027-01-31", contacts=240)

    on: date = Field(
        description="The first day on which the rule is in force, or the first day on which it is "
        "no longer in force. It is a local day of the recipient."
    )
    change: ChangeKind = Field(description="Whether the rule begins or ends on this day.")
    rule: ComplianceRule = Field(description="The legal rule that begins or ends.")
    contacts: int = Field(
        description="The number of contacts to whom the rule applies. Contacts who opted out are "
        "included."
    )
    places: list[AffectedPlace] = Field(
        description="The zone keys of the contacts to whom the rule applies, each with its number "
        f"of contacts. The list has at most {MOST_PLACES} zone keys. Zone keys with the most "
        "contacts come first."
    )
    sample: list[AffectedContact] = Field(
        description=f"Up to {SAMPLE} contacts to whom the rule applies, as examples."
    )


class RuleChangesRead(ReadModel):
    """The legal rules that begin or end in a period, ordered by the day of the change."""

    model_config = example(**{"from": "2027-01-31", "to": "2027-02-01"})

    since: date = Field(
        serialization_alias="from", description="The first day of the period, as requested."
    )
    until: date = Field(
        serialization_alias="to", description="The day after the last day of the period."
    )
    rule_set: Literal["us", "none", "file"] = Field(
        description="The rules that this service uses: `us` for the shipped rules, `none` for no "
        "rules, `file` for the operator's own file."
    )
    data: list[RuleChangeRead] = Field(
        description="The changes in the period; empty if no rule begins or ends."
    )
    next_cursor: str | None = Field(
        default=None, description="Always null, because all changes are on one page."
    )


class _Change(NamedTuple):
    on: date
    kind: ChangeKind
    rule: ComplianceRule


async def list_changes(
    uow: UnitOfWork, book: RuleBook, *, since: date, until: date
) -> RuleChangesRead:
    """List the rules that begin or end in a period, and count the contacts of each rule.

    Each item has the number of contacts to whom the rule applies, and a sample of them. A rule of a
    state also applies to contacts whose state is not known.

    Args:
        since: The first day of the period.
        until: The day after the last day of the period.

    Raises:
        EmptyRuleSpanError: ``until`` is not later than ``since``.
    """
    if until <= since:
        raise EmptyRuleSpanError
    changes = sorted(
        (change for change in _changes(book.rules) if since <= change.on < until),
        key=lambda change: (change.on, change.kind, change.rule.state or ""),
    )
    data = []
    if changes:
        session = uow.session
        zone_keys = await find_places(session)
        wanted = {state: _where(zone_keys, state) for state in {one.rule.state for one in changes}}
        counted = await _count(session, sorted({one for keys in wanted.values() for one in keys}))
        samples = {state: await _sample(session, keys) for state, keys in wanted.items()}
        for one in changes:
            keys = wanted[one.rule.state]
            data.append(_read(one, {key: counted.get(key, 0) for key in keys}, samples))
    return RuleChangesRead(since=since, until=until, rule_set=rule_set_of(book), data=data)


async def find_places(session: AsyncSession) -> list[str]:
    """Return the different zone keys of all contacts that are not deleted, in ascending order.

    A zone key is a text with the states and time zones in which a person may be.
    """
    return list(await session.scalars(_PLACES))


def _changes(rules: Iterable[ComplianceRule]) -> Iterator[_Change]:
    for rule in rules:
        if rule.effective_from is not None:
            yield _Change(rule.effective_from, ChangeKind.BEGINS, rule)
        if rule.effective_until is not None and rule.effective_until < date.max:
            yield _Change(rule.effective_until + timedelta(days=1), ChangeKind.ENDS, rule)


def _where(zone_keys: Sequence[str], state: str | None) -> list[str]:
    """Return the zone keys of the contacts to whom a rule of a state applies.

    If ``state`` is None, the rule is a federal rule, and all zone keys are returned. A zone key
    without states is always returned: the state is unknown, so the rules of all states apply.
    """
    found = []
    for key in zone_keys:
        states = parse_zone_key(key).states
        if state is None or not states or state in states:
            found.append(key)
    return found


async def _count(session: AsyncSession, zone_keys: Sequence[str]) -> dict[str, int]:
    rows = await session.execute(_COUNT, {"zone_keys": list(zone_keys)})
    return {row.zone_key: row.contacts for row in rows}


async def _sample(session: AsyncSession, zone_keys: Sequence[str]) -> list[AffectedContact]:
    values = {"zone_keys": list(zone_keys), "limit": SAMPLE}
    rows = await session.execute(_SAMPLE, values)
    return [AffectedContact.model_validate(row) for row in rows]


def _read(
    change: _Change, counts: dict[str, int], samples: dict[str | None, list[AffectedContact]]
) -> RuleChangeRead:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_PLACES]
    return RuleChangeRead(
        on=change.on,
        change=change.kind,
        rule=change.rule,
        contacts=sum(counts.values()),
        places=[AffectedPlace(zone_key=key, contacts=count) for key, count in largest],
        sample=samples[change.rule.state],
    )


def rule_set_of(book: RuleBook) -> Literal["us", "none", "file"]:
    """Return the name that the API shows for a set of legal rules: ``us``, ``none`` or ``file``.

    ``us`` means the shipped rules, ``none`` means no rules, ``file`` means the operator's own rule
    file. The API does not show the path of this file.
    """
    if book.name == NO_RULES.name:
        return "none"
    return "us" if book.name == SHIPPED else "file"


def list_rules(book: RuleBook, *, on: date) -> ComplianceRulesRead:
    """Return the rules that are in force on a local day, in the order of the rule file."""
    rule_set = rule_set_of(book)
    file = Path(book.name).name if rule_set == "file" else None
    return ComplianceRulesRead(on=on, rule_set=rule_set, file=file, data=tuple(book.in_force(on)))
