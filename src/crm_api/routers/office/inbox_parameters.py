"""Query parameters that several routes of the inbox have."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from crm_api.domain.kit.errors import Example, InvalidError
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.selection import NOBODY
from crm_api.routers.http.deps import Caller

LONGEST_STATES = 100


class InvalidStatesError(InvalidError):
    """The parameter `state` has a word that is not the state of a conversation."""

    code = "invalid_states"
    title = "Unknown state of a conversation"
    pointer = "/state"
    example = Example("wating")

    def __init__(self, word: str) -> None:
        known = ", ".join(ConversationState)
        super().__init__(
            f"{word!r} is not the state of a conversation. Give one or more of these, separated by "
            f"commas: {known}."
        )


async def _states(
    state: Annotated[
        str | None,
        Query(
            max_length=LONGEST_STATES,
            description="Only conversations in this state: `waiting`, `open`, `snoozed` or `done`. "
            "Several states are separated by commas.",
            examples=["waiting,open"],
        ),
    ] = None,
) -> tuple[ConversationState, ...]:
    """Read the states, without repetitions, in the order of the states."""
    words = [word.strip() for word in (state or "").split(",")] if state else []
    known = {one.value for one in ConversationState}
    for word in words:
        if word not in known:
            raise InvalidStatesError(word)
    return tuple(one for one in ConversationState if one.value in words)


States = Annotated[tuple[ConversationState, ...], Depends(_states)]


class InboxAssignee(StrEnum):
    """Who is responsible, without naming a user.

    Attributes:
        ME: The calling user.
        NONE: Nobody.
    """

    ME = "me"
    NONE = "none"


AssigneeParameter = Annotated[
    InboxAssignee | UUID | None,
    Query(
        description="`me`: conversations for which you are responsible; `none`: conversations of "
        "nobody; or the id of a user."
    ),
]


def assignee_of(value: InboxAssignee | UUID | None, caller: Caller) -> UUID | str | None:
    """Return the user's id, ``NOBODY`` or None.

    Raises:
        UserNeededError: The value is `me` and the caller is an API key.
    """
    if value == InboxAssignee.ME:
        return caller.user_id
    return NOBODY if value == InboxAssignee.NONE else value
