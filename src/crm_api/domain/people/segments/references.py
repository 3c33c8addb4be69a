"""Check that the lists and campaigns that a filter names exist."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.people.models.lists import ContactList
from crm_api.domain.people.segments.errors import InvalidFilterError
from crm_api.domain.people.segments.parser import read_filter
from crm_api.domain.people.segments.tree import Membership, Node, rules_of
from crm_api.platform.database import UnitOfWork


async def read_with_references(uow: UnitOfWork, given: Any) -> Node:  # noqa: ANN401 - JSON
    """Parse a filter and check that the lists and campaigns that it names exist.

    Raises:
        InvalidFilterError: The rules are not valid, or name a list or campaign that does not exist.
    """
    node = read_filter(given)
    lost = await lost_references(uow, node)
    if lost:
        raise InvalidFilterError(lost)
    return node


KNOWN_CAMPAIGNS = text("SELECT c.id FROM campaign c WHERE c.id = ANY(CAST(:ids AS uuid[]))")


async def lost_references(uow: UnitOfWork, node: Node) -> list[FieldProblem]:
    """Return a problem for each list or campaign that the rules name but that does not exist."""
    lists, campaigns = _lists_of(node), _campaigns_of(node)
    problems = []
    if lists:
        statement = select(ContactList.id).where(ContactList.id.in_(list(set(lists.values()))))
        known = set(await uow.session.scalars(statement))
        problems += [
            FieldProblem(
                pointer=pointer,
                code="unknown_list",
                detail="No list has this id. GET /v1/lists returns all lists.",
            )
            for pointer, list_id in lists.items()
            if list_id not in known
        ]
    if campaigns:
        ids = list(set(campaigns.values()))
        known = set(await uow.session.scalars(KNOWN_CAMPAIGNS, {"ids": ids}))
        problems += [
            FieldProblem(
                pointer=pointer,
                code="unknown_campaign",
                detail="No campaign has this id. GET /v1/campaigns lists the campaigns.",
            )
            for pointer, campaign_id in campaigns.items()
            if campaign_id not in known
        ]
    return problems


def _lists_of(node: Node) -> dict[str, UUID]:
    found: dict[str, UUID] = {}
    for rule in rules_of(node):
        if rule.field != "lists" or rule.value is None:
            continue
        if isinstance(rule.value, tuple):
            for place, value in enumerate(rule.value):
                if isinstance(value, UUID):
                    found[f"{rule.pointer}/value/{place}"] = value
        elif isinstance(rule.value, UUID):
            found[f"{rule.pointer}/value"] = rule.value
    return found


def _campaigns_of(node: Node) -> dict[str, UUID]:
    return {
        f"{rule.pointer}/value/campaign_id": rule.value.campaign_id
        for rule in rules_of(node)
        if isinstance(rule.value, Membership)
    }
