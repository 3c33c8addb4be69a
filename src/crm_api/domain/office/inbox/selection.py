"""Say which conversations a list has, and in which order."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from crm_api.domain.consent.models import SUPPRESSING_FLAGS
from crm_api.domain.kit.checks import one_of
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.errors import InvalidStatesError
from crm_api.domain.office.inbox.rows import IS_UNREAD

NOBODY = "none"
"""Value of ``InboxFilter.assignee`` for the conversations of nobody."""
TO_WORK_ON = (ConversationState.WAITING, ConversationState.OPEN)
"""The states that a filter by reading or assignee means, unless it names states."""


class InboxAssignee(StrEnum):
    """Who is responsible, without naming a user.

    Attributes:
        ME: The calling user.
        NONE: Nobody.
    """

    ME = "me"
    NONE = "none"


def read_states(text: str | None, *, pointer: str) -> tuple[ConversationState, ...]:
    """Read states that are separated by commas, without repetitions, in the order of the states.

    Raises:
        InvalidStatesError: A word is not a state.
    """
    words = [word.strip() for word in text.split(",")] if text else []
    known = {one.value for one in ConversationState}
    for word in words:
        if word not in known:
            raise InvalidStatesError(word, pointer=pointer)
    return tuple(one for one in ConversationState if one.value in words)


class InboxSort(StrEnum):
    """The order of a list of conversations.

    Attributes:
        NEWEST: The last active conversation first.
        WAITING_LONGEST: The conversation whose person waits longest first. Conversations whose
            person does not wait follow, the last active first.
    """

    NEWEST = "newest"
    WAITING_LONGEST = "waiting_longest"


@dataclass(frozen=True, kw_only=True)
class InboxFilter:
    """The conversations that a list has; None does not filter.

    Attributes:
        states: Any of these states; empty means all, unless the filter is about unread messages or
            the assignee: then it means ``TO_WORK_ON``.
        assignee: The id of a user, or ``NOBODY``.
        is_unread: Whether the caller has not read some messages.
        campaign_id: The campaign to which the person's last reply belongs.
        flag: A flag of the phone number.
        ids: Only conversations with these ids.
    """

    states: tuple[ConversationState, ...] = ()
    assignee: UUID | str | None = None
    is_unread: bool | None = None
    line_id: UUID | None = None
    campaign_id: UUID | None = None
    contact_id: UUID | None = None
    phone: str | None = None
    flag: str | None = None
    ids: tuple[UUID, ...] | None = None

    @property
    def wanted_states(self) -> tuple[ConversationState, ...]:
        """The states that the list has; empty means all."""
        if not self.states and (self.is_unread is True or self.assignee is not None):
            return TO_WORK_ON
        return () if set(self.states) == set(ConversationState) else self.states

    @property
    def values(self) -> dict[str, Any]:
        """The bind values of the conditions."""
        named = {
            "assignee": self.assignee if isinstance(self.assignee, UUID) else None,
            "line_id": self.line_id,
            "campaign_id": self.campaign_id,
            "contact_id": self.contact_id,
            "phone": self.phone,
            "flag": self.flag,
            "ids": None if self.ids is None else list(self.ids),
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order of conversations that indexes have.

    Attributes:
        column: The column of conversations by which they are ordered, then by id.
        is_descending: Whether the largest value comes first.
        condition: Which conversations it orders.
        states: The states that these conversations can have.
    """

    column: str
    is_descending: bool
    condition: str | None = None
    states: tuple[ConversationState, ...] = tuple(ConversationState)

    def states_of(self, wanted: InboxFilter) -> tuple[ConversationState, ...]:
        """Return the states that both this order and the list have."""
        return tuple(
            one for one in self.states if not wanted.wanted_states or one in wanted.wanted_states
        )

    @property
    def words(self) -> str:
        """The order in SQL, of a query with the columns ``key`` and ``id``."""
        way = "DESC" if self.is_descending else "ASC"
        return f"key {way}, id {way}"

    @property
    def after(self) -> str:
        """The condition of the rows that follow the row of a cursor.

        The subqueries hide the values from the planner. With them it expects fewer rows than
        without, and so it would plan the statement again for every page, which takes some ms.
        """
        sign = "<" if self.is_descending else ">"
        place = "(SELECT CAST(:after AS timestamptz)), (SELECT CAST(:after_id AS uuid))"
        return f"(k.{self.column}, k.id) {sign} ({place})"


NEWEST_FIRST = Order(column="last_activity_at", is_descending=True)
WAITING_FIRST = Order(
    column="waiting_since",
    is_descending=False,
    condition="k.waiting_since IS NOT NULL",
    states=(ConversationState.WAITING, ConversationState.SNOOZED),
)
NOT_WAITING = Order(
    column="last_activity_at",
    is_descending=True,
    condition="k.waiting_since IS NULL",
    states=(ConversationState.OPEN, ConversationState.SNOOZED, ConversationState.DONE),
)


def flagged(wanted: InboxFilter) -> str:
    """Return the query of the numbers with the flag of a filter.

    The subquery hides the flag from the planner, which would plan for each flag again. So the query
    says which of the two partial indexes has the flag.
    """
    is_suppressing = one_of("f.flag_type", SUPPRESSING_FLAGS)
    part = is_suppressing if wanted.flag in SUPPRESSING_FLAGS else f"({is_suppressing}) IS FALSE"
    return (
        "SELECT f.phone FROM contact_flag f "
        f"WHERE f.flag_type = (SELECT CAST(:flag AS text)) AND {part} "
        "AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))"
    )


def has_flag(wanted: InboxFilter) -> str:
    """Return the condition that ``k.phone`` has the flag of a filter.

    ``IS TRUE`` keeps PostgreSQL from joining all conversations with all flags: it reads the numbers
    once, and conversations in order until the page is full.
    """
    return f"(k.phone IN ({flagged(wanted)})) IS TRUE"


def conditions_of(wanted: InboxFilter) -> list[str]:
    """Return the conditions on ``conversation k``, except those on state and line."""
    found: list[str] = []
    if isinstance(wanted.assignee, UUID):
        found.append("k.assignee_id = :assignee")
    if wanted.assignee == NOBODY:
        found.append("k.assignee_id IS NULL")
    if wanted.is_unread is not None:
        found.append(IS_UNREAD if wanted.is_unread else f"NOT {IS_UNREAD}")
    if wanted.campaign_id is not None:
        found.append("k.campaign_id = :campaign_id")
    if wanted.contact_id is not None:
        found.append("k.contact_id = :contact_id")
    if wanted.phone is not None:
        found.append("k.phone = :phone")
    if wanted.flag is not None:
        found.append(has_flag(wanted))
    if wanted.ids is not None:
        found.append("k.id = ANY(CAST(:ids AS uuid[]))")
    return found


def matching(wanted: InboxFilter) -> str:
    """Return the condition on ``conversation k`` of everything that a list has."""
    found = [*in_states(wanted.wanted_states), *conditions_of(wanted)]
    if wanted.line_id is not None:
        found.append("k.line_id = :line_id")
    return " AND ".join(found) or "true"


def in_states(states: Iterable[ConversationState]) -> list[str]:
    """Return the condition on the state of ``conversation k``; none if all states are meant."""
    named = [f"'{one.value}'" for one in states]
    if len(named) in (0, len(ConversationState)):
        return []
    return [f"k.state = {named[0]}" if len(named) == 1 else f"k.state IN ({', '.join(named)})"]
