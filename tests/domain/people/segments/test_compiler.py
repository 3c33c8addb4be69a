"""SQL and plain Python agree on matching contacts, for random filters and persons."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import rolled_back
from tests.domain.people.segments import drawn
from tests.domain.people.segments.crowd import CROWD, every_rule
from tests.domain.people.segments.plain import Person, fits
from tests.domain.people.segments.store import id_of, lay_ground, put, who, who_of_each
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
"""Every example rolls back its writes."""


def test_every_field_and_operator_is_drawn() -> None:
    taken = {
        name: set(
            OPERATORS[
                SegmentFieldKind.ATTRIBUTE if name.startswith(ATTRIBUTE_PREFIX) else FIELDS[name]
            ]
        )
        for name in drawn.OPERATORS
    }

    assert {name: set(ops) for name, ops in drawn.OPERATORS.items()} == taken
    assert FIELDS.keys() <= taken.keys()


async def _agree(
    session: AsyncSession, people: Sequence[Person], filters: Sequence[dict[str, Any]]
) -> None:
    async with rolled_back(session):
        lines = await lay_ground(session)
        await put(session, people, lines)
        for filter_ in filters:
            all_ids = {id_of(place) for place in range(len(people))}
            expected = {
                id_of(place)
                for place, person in enumerate(people)
                if fits(filter_, replace(person, phone=number(place)), NOW)
            }
            assert await who(session, filter_) == expected, filter_
            assert await who(session, filter_, by_person=True) == expected, filter_
            others = await who(session, filter_, is_negated=True)
            assert others == all_ids - expected, filter_


@UNDONE
@given(people=drawn.people, filters=st.lists(drawn.filters, min_size=3, max_size=6))
async def test_trees_match_the_same_contacts_as_plain_python(
    session: AsyncSession, people: list[Person], filters: list[dict[str, Any]]
) -> None:
    await _agree(session, people, filters)


NAMES = [
    *("first_name", "phone", "tags", "lists", "flags", "opted_out", "created_at"),
    *("last_contacted_at", "last_replied_at", "campaigns", "attributes.year_built"),
    *("engagement_score", "engagement_grade", "reply_class"),
]
"""One field of each kind, and both fields that are read from conversations."""


def test_every_kind_is_tested() -> None:
    assert {kind_of(name) for name in NAMES} == set(SegmentFieldKind)


@pytest.mark.parametrize("by_person", [False, True], ids=["joined", "by_person"])
@pytest.mark.parametrize("name", NAMES)
async def test_each_operator_matches_the_same_contacts_as_plain_python(
    session: AsyncSession, name: str, *, by_person: bool
) -> None:
    await put(session, CROWD, await lay_ground(session))
    crowd = {
        id_of(place): replace(person, phone=number(place)) for place, person in enumerate(CROWD)
    }
    rules = every_rule(name)

    found = await who_of_each(session, rules, by_person=by_person)

    for rule, people in zip(rules, found, strict=True):
        expected = {one for one, person in crowd.items() if fits(rule, person, NOW)}
        assert people == expected, rule
