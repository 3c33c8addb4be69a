"""Query parameters that several routes of the inbox have."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.selection import NOBODY, InboxAssignee, read_states
from crm_api.routers.http.deps import Caller

LONGEST_STATES = 100


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
    return read_states(state, pointer="/state")


States = Annotated[tuple[ConversationState, ...], Depends(_states)]


AssigneeParameter = Annotated[
    InboxAssignee | UUID | None,
    Query(
        description="Who is responsible for the conversations: `me` for you, `none` for nobody, or "
        "the id of a user."
    ),
]


def assignee_of(value: InboxAssignee | UUID | None, caller: Caller) -> UUID | str | None:
    """Convert the query parameter to the id of a user, ``NOBODY``, or None (no filter).

    Raises:
        UserNeededError: The value is `me` and the caller is an API key.
    """
    if value == InboxAssignee.ME:
        return caller.user_id
    return NOBODY if value == InboxAssignee.NONE else value
