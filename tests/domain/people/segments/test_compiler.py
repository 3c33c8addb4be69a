"""SQL and plain Python find the same contacts, for random filters and people."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import rolled_back
from tests.domain.people.segments import strategies
from tests.domain.people.segments.examples import EXAMPLE_PEOPLE, every_rule
from tests.domain.people.segments.plain import Person, matches
from tests.domain.people.segments.store import (
    find_matches,
    find_matches_of_each,
    insert_people,
    make_id,
    make_referenced_rows,
)
from tests.factories import number

from crm_api.domain.people.segments.catalogue import (
    ATTRIBUTE_PREFIX,
    FIELDS,
    OPERATORS,
    SegmentFieldKind,
    kind_of,
)

UNDONE = settings(
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Settings for tests in which every example rolls back its own writes."""


def test_strategies_have_every_field_and_operator() -> None:
    supported = {
        name: set(
            OPERATORS[
                SegmentFieldKind.ATTRIBUTE if name.startswith(ATTRIBUTE_PREFIX) else FIELDS[name]
            ]
        )
        for name in strategies.OPERATORS
    }

    assert {name: set(ops) for name, ops in strategies.OPERATORS.items()} == supported
    assert FIELDS.keys() <= supported.keys()


async def _check_agreement(
    session: AsyncSession, people: Sequence[Person], filters: Sequence[dict[str, Any]]
) -> None:
    async with rolled_back(session):
        lines = await make_referenced_rows(session)
        await insert_people(session, people, lines)
        for filter_ in filters:
            all_ids = {make_id(position) for position in range(len(people))}
            expected = {
                make_id(position)
                for position, person in enumerate(people)
                if matches(filter_, replace(person, phone=number(position)), NOW)
            }
            assert await find_matches(session, filter_) == expected, filter_
            assert await find_matches(session, filter_, by_person=True) == expected, filter_
            others = await find_matches(session, filter_, is_negated=True)
            assert others == all_ids - expected, filter_


@UNDONE
@given(people=strategies.people, filters=st.lists(strategies.filters, min_size=3, max_size=6))
async def test_filter_trees_match_the_same_contacts_as_plain_python(
    session: AsyncSession, people: list[Person], filters: list[dict[str, Any]]
) -> None:
    await _check_agreement(session, people, filters)


NAMES = [
    *("first_name", "phone", "tags", "lists", "flags", "opted_out", "created_at"),
    *("last_contacted_at", "last_replied_at", "campaigns", "attributes.year_built"),
    *("engagement_score", "engagement_grade", "reply_class"),
]
"""One field of each kind, and both fields whose values come from conversations."""


def test_every_kind_is_tested() -> None:
    assert {kind_of(name) for name in NAMES} == set(SegmentFieldKind)


@pytest.mark.parametrize("by_person", [False, True], ids=["joined", "by_person"])
@pytest.mark.parametrize("name", NAMES)
async def test_each_operator_matches_the_same_contacts_as_plain_python(
    session: AsyncSession, name: str, *, by_person: bool
) -> None:
    await insert_people(session, EXAMPLE_PEOPLE, await make_referenced_rows(session))
    people_by_id = {
        make_id(position): replace(person, phone=number(position))
        for position, person in enumerate(EXAMPLE_PEOPLE)
    }
    rules = every_rule(name)

    found = await find_matches_of_each(session, rules, by_person=by_person)

    for rule, people in zip(rules, found, strict=True):
        expected = {one for one, person in people_by_id.items() if matches(rule, person, NOW)}
        assert people == expected, rule
