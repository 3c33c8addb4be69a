"""What a tree of rules names elsewhere: lists and campaigns, each with the pointer to where."""

from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.errors import FieldProblem
from crm_api.domain.segments import queries
from crm_api.domain.segments.errors import InvalidFilterError
from crm_api.domain.segments.reading import read_filter
from crm_api.domain.segments.tree import Membership, Node, rules_of


async def read_with_references(uow: UnitOfWork, given: Any) -> Node:  # noqa: ANN401 - JSON
    """Read a filter; what it names must be there.

    Raises:
        InvalidFilterError: The rules have faults, or name a list or campaign that is not there.
    """
    node = read_filter(given)
    lost = await lost_references(uow, node)
    if lost:
        raise InvalidFilterError(lost)
    return node


async def lost_references(uow: UnitOfWork, node: Node) -> list[FieldProblem]:
    """Find the lists and campaigns that rules name and that are not (or no more)."""
    lists, campaigns = _lists_of(node), _campaigns_of(node)
    problems = []
    if lists:
        known = await queries.known_lists(uow.session, list_ids=set(lists.values()))
        problems += [
            FieldProblem(pointer=pointer, code="unknown_list", detail="There is no such list.")
            for pointer, list_id in lists.items()
            if list_id not in known
        ]
    if campaigns:
        known = await queries.known_campaigns(uow.session, campaign_ids=set(campaigns.values()))
        problems += [
            FieldProblem(
                pointer=pointer, code="unknown_campaign", detail="There is no such campaign."
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
