"""Build the SQL that decides which conversations a list contains, and in which order."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from crm_api.domain.consent.models import SUPPRESSING_FLAGS
from crm_api.domain.kit.vocabulary import one_of
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.errors import InvalidStatesError
from crm_api.domain.office.inbox.rows import IS_UNREAD

NOBODY = "none"
"""Value of ``InboxFilter.assignee`` for conversations for which nobody is responsible."""
TO_WORK_ON = (ConversationState.WAITING, ConversationState.OPEN)
"""The states that are listed if a filter names no state, but selects unread conversations or an
assignee."""


class InboxAssignee(StrEnum):
    """The values of the filter ``assignee`` that are not the id of a user.

    Attributes:
        ME: The calling user.
        NONE: Nobody is responsible.
    """

    ME = "me"
    NONE = "none"


def read_states(text: str | None, *, pointer: str) -> tuple[ConversationState, ...]:
    """Parse states that are separated by commas; return each once, in the order of the enum.

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
        NEWEST: First the conversation with the latest activity.
        WAITING_LONGEST: First the conversations in which the person waits for an answer, the
            longest wait first. Then the conversations in which the person does not wait, the latest
            activity first.
    """

    NEWEST = "newest"
    WAITING_LONGEST = "waiting_longest"


@dataclass(frozen=True, kw_only=True)
class InboxFilter:
    """A filter for conversations. A field that is None does not filter.

    Attributes:
        states: Only these states. If it is empty, ``wanted_states`` says which states are selected.
        assignee: The id of the user who is responsible, or ``NOBODY``.
        is_unread: True: only conversations with messages that the caller has not read. False: all
            other conversations.
        campaign_id: Only conversations whose last reply belongs to this campaign.
        flag: Only conversations with phone numbers that have this flag.
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
        """The states that this filter selects; an empty tuple selects all states.

        - If the filter names states, it selects these states.
        - If it names no states, but asks for unread conversations or for an assignee, it selects
          ``waiting`` and ``open``.
        - In all other cases, it selects all states.
        """
        if not self.states and (self.is_unread is True or self.assignee is not None):
            return TO_WORK_ON
        return () if set(self.states) == set(ConversationState) else self.states

    @property
    def values(self) -> dict[str, Any]:
        """The values of the SQL parameters, by name; a field that is None has no parameter."""
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
    """An order in which conversations are read from an index.

    Attributes:
        column: The column that decides the order. Equal values are ordered by id.
        is_descending: Whether the largest value comes first.
        condition: The SQL condition that selects the conversations of this order; None if the order
            contains all conversations.
        states: The only states that conversations in this order can have.
    """

    column: str
    is_descending: bool
    condition: str | None = None
    states: tuple[ConversationState, ...] = tuple(ConversationState)

    def states_of(self, wanted: InboxFilter) -> tuple[ConversationState, ...]:
        """Return the states of this order (field ``states``) that the filter selects.

        If the filter selects all states, the result is the whole field ``states``.
        """
        return tuple(
            one for one in self.states if not wanted.wanted_states or one in wanted.wanted_states
        )

    @property
    def words(self) -> str:
        """The SQL text to write after ``ORDER BY``, such as ``key DESC, id DESC``."""
        way = "DESC" if self.is_descending else "ASC"
        return f"key {way}, id {way}"

    @property
    def after(self) -> str:
        """The SQL condition that a conversation comes after the position of a cursor.

        The values of the cursor are in subqueries, so that PostgreSQL does not know the values when
        it plans the statement. If PostgreSQL knew them, it would plan the statement again for every
        page, which takes some ms.
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
    """Return the SQL query for the phone numbers that have the flag ``wanted.flag``.

    Expired flags are left out. There are two indexes: one for flags that stop messages, and one for
    all other flags. The query contains the condition of the right index, so PostgreSQL can use it.
    """
    is_suppressing = one_of("f.flag_type", SUPPRESSING_FLAGS)
    part = is_suppressing if wanted.flag in SUPPRESSING_FLAGS else f"({is_suppressing}) IS FALSE"
    return (
        "SELECT f.phone FROM contact_flag f "
        f"WHERE f.flag_type = (SELECT CAST(:flag AS text)) AND {part} "
        "AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))"
    )


def has_flag(wanted: InboxFilter) -> str:
    """Return the SQL condition that the phone number of a conversation has ``wanted.flag``.

    In the SQL, ``k`` is the table ``conversation``. ``IS TRUE`` makes the query fast: PostgreSQL
    then does not read all conversations.
    """
    return f"(k.phone IN ({flagged(wanted)})) IS TRUE"


def conditions_of(wanted: InboxFilter) -> list[str]:
    """Return the SQL conditions of a filter, except those for state and phone line.

    In the SQL, the alias of the table ``conversation`` is ``k``.
    """
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
    """Return the SQL condition that selects the conversations of a filter.

    The condition covers all fields of the filter. In the SQL, ``k`` is the table ``conversation``.
    """
    found = [*in_states(wanted.wanted_states), *conditions_of(wanted)]
    if wanted.line_id is not None:
        found.append("k.line_id = :line_id")
    return " AND ".join(found) or "true"


def in_states(states: Iterable[ConversationState]) -> list[str]:
    """Return a list with the SQL condition on the state of ``conversation k``.

    An empty ``states`` selects all states. If all states are selected, no condition is needed, and
    the returned list is empty.
    """
    named = [f"'{one.value}'" for one in states]
    if len(named) in (0, len(ConversationState)):
        return []
    return [f"k.state = {named[0]}" if len(named) == 1 else f"k.state IN ({', '.join(named)})"]
