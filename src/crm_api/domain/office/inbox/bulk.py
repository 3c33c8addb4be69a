"""Change many conversations with one request.

The client first sends a dry run: the same request, which only counts the conversations.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import text

from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Line200, PhoneNumber, RequestInstant
from crm_api.domain.kit.schemas import Id, RequestModel
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.changes import ASKING_IDS, WantedState, wanted_state
from crm_api.domain.office.inbox.rows import ME
from crm_api.domain.office.inbox.schemas import ConversationUpdate
from crm_api.domain.office.inbox.selection import (
    NOBODY,
    InboxAssignee,
    InboxFilter,
    InboxSort,
    matching,
    read_states,
)
from crm_api.domain.office.message_search.terms import Term, parse_terms
from crm_api.domain.people.contacts.errors import UnsearchableError
from crm_api.domain.people.tags.schemas import TagName
from crm_api.domain.people.tags.tag_changes import add_tag
from crm_api.domain.people.tasks.service import check_assignee
from crm_api.platform.database import UnitOfWork, typed_row

MOST_IDS = 500


def _join_states(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Join an array of states to one text with commas. Other values are returned unchanged."""
    is_list = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    return ",".join(value) if is_list else value


_STATES = {
    "anyOf": [
        {"type": "string", "maxLength": 200},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
        {"type": "null"},
    ]
}


class InboxSelection(RequestModel):
    """A filter for conversations, with the parameters of GET /v1/conversations.

    An empty filter selects all conversations.

    Attributes:
        q: Words to find, as in GET /v1/conversations with its limits, but without similar words:
            all words must occur. It needs the scope `messages:read`.
        state: Only conversations in these states: an array, or a text in which commas separate the
            states.
        assignee: The id of the responsible user, `me` for yourself, or `none` if nobody is
            responsible. No conversations are assigned to an API key.
        unread: True: only conversations with messages that you have not read. False: all other
            conversations.
        line_id: Only conversations of this phone line.
        campaign_id: Only conversations whose last reply belongs to this campaign.
        contact_id: Only conversations with this contact.
        phone: Only conversations with this phone number.
        flag: Only conversations with phone numbers that have this flag, such as `opted_out`.
        sort: The order of the list. It has no effect on which conversations are selected.
    """

    model_config = example(state="waiting,open", campaign_id=example_id("campaign"))

    q: Line200 | None = None
    state: Annotated[Line200 | None, BeforeValidator(_join_states), WithJsonSchema(_STATES)] = None
    assignee: InboxAssignee | UUID | None = None
    unread: StrictBool | None = None
    line_id: UUID | None = None
    campaign_id: UUID | None = None
    contact_id: UUID | None = None
    phone: PhoneNumber | None = None
    flag: Line200 | None = None
    sort: InboxSort | None = None

    def terms(self) -> list[Term]:
        """Return the terms of the search; empty if the filter has no search words.

        Raises:
            UnsearchableError: ``q`` has no letter and no digit.
        """
        try:
            return parse_terms(self.q or "")
        except UnsearchableError as error:
            place = FieldProblem(pointer="/filter/q", code=error.code, detail=error.detail)
            raise UnsearchableError(errors=[place]) from None

    def wanted(self, caller_id: UUID) -> InboxFilter:
        """Convert this filter of a request to an ``InboxFilter`` for the database query.

        The result does not contain the search words; see ``terms``.

        Args:
            caller_id: The user or API key that ``me`` means. An API key is never an assignee.

        Raises:
            InvalidStatesError: A word in ``state`` is not a state.
        """
        assignee: UUID | str | None = None
        if self.assignee == InboxAssignee.ME:
            assignee = caller_id
        elif self.assignee is not None:
            is_nobody = self.assignee == InboxAssignee.NONE
            assignee = NOBODY if is_nobody else UUID(str(self.assignee))
        return InboxFilter(
            states=read_states(self.state, pointer="/filter/state"),
            assignee=assignee,
            is_unread=self.unread,
            line_id=self.line_id,
            campaign_id=self.campaign_id,
            contact_id=self.contact_id,
            phone=self.phone,
            flag=self.flag,
        )


class BulkChange(RequestModel):
    """What to change in each conversation. A field that is left out keeps its value.

    Attributes:
        state: The new state, with the effects of `PATCH /v1/conversations/{conversation_id}`.
        snoozed_until: When the conversations come back. The state `snoozed` requires it.
        assignee_id: The id of the user who is responsible; null if nobody is.
        add_tag: A tag for the contacts of the conversations. It needs the scope `contacts:write`.
    """

    model_config = example(state="done", add_tag="not-now")

    state: ConversationState = ConversationState.OPEN
    snoozed_until: RequestInstant | None = None
    assignee_id: UUID | None = None
    add_tag: TagName | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("nothing_to_change", "Give at least one field to change.")
        return self

    def of_one(self) -> ConversationUpdate:
        """Convert this change to the body of a request that changes one conversation.

        ``add_tag`` is left out, because it changes the contact, not the conversation.
        """
        given = self.model_fields_set - {"add_tag"}
        return ConversationUpdate.model_validate({name: getattr(self, name) for name in given})


class ConversationsUpdate(DryRunRequest):
    """A request to change many conversations. Give either ``ids`` or ``filter``.

    Attributes:
        ids: The ids of the conversations to change. Ids that do not exist are ignored.
        filter: The filter that selects the conversations to change.
        set: The changes to make in each of the selected conversations.
    """

    model_config = example(
        filter={"state": "open", "campaign_id": example_id("campaign")},
        set={"state": "done"},
        dry_run=True,
    )

    ids: Annotated[list[Id] | None, Field(min_length=1, max_length=MOST_IDS)] = None
    filter: InboxSelection | None = None
    set: BulkChange

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise PydanticCustomError("ids_or_filter", "Give either `ids` or `filter`.")
        return self


class ConversationsChanged(DryRunRead):
    """The number of conversations to which the change applies. A dry run changes none of them.

    Attributes:
        count: The number of conversations that the request selects.
    """

    model_config = example(token=None, count=412)

    count: int


MOST = 50_000
"""The largest number of conversations that one request changes. This takes some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The conversations that a request selects.

    Attributes:
        count: The number of conversations.
        digest: A hash of the ids, states, waiting times and last incoming messages, and of the ids
            of the messages and calls that need an answer. If it has changed since the dry run, the
            request is refused.
    """

    count: int
    digest: int


_SELECTED = f"""
    SELECT count(*) AS count, coalesce(bit_xor(hashtextextended(
        concat_ws('|', k.id, k.state, k.waiting_since, k.last_incoming_at, {ASKING_IDS}), 0)), 0)
        AS digest
    FROM conversation k WHERE {{matching}}
"""


async def select_conversations(
    uow: UnitOfWork, wanted: InboxFilter, *, caller_id: UUID, now: datetime
) -> Selected:
    """Return how many conversations a filter selects, and a digest (hash) of their present state.

    If the digest differs from the digest of the dry run, the conversations have changed.
    """
    statement = text(f"WITH {ME} {_SELECTED.format(matching=matching(wanted))}")
    values = {**wanted.values, "caller_id": str(caller_id), "now": now}
    return typed_row(Selected, (await uow.session.execute(statement, values)).one())


_LOCKED = """
    SELECT k.id, k.contact_id FROM conversation k WHERE {matching}
    ORDER BY k.line_id, k.phone FOR NO KEY UPDATE
"""


async def change_conversations(
    uow: UnitOfWork,
    change: BulkChange,
    wanted: InboxFilter,
    *,
    caller_id: UUID,
    actor: str,
    now: datetime,
) -> None:
    """Change state, assignee and tags of the conversations that a filter selects.

    Raises:
        InvalidSnoozeError: ``state`` and ``snoozed_until`` do not fit together, or the time is in
            the past or more than one year ahead.
        UnknownAssigneeError: The assignee is not an active user.
    """
    values = {**wanted.values, "caller_id": str(caller_id), "now": now}
    where = matching(wanted)
    if change.add_tag is not None:
        # Contacts are locked before conversations, as in all other code, so that two transactions
        # cannot deadlock.
        statement = text(
            f"WITH {ME} SELECT DISTINCT k.contact_id FROM conversation k WHERE {where}"
        )
        found = await uow.session.scalars(statement, values)
        people = [one for one in found if one is not None]
        await add_tag(uow, tag=change.add_tag, contact_ids=people, actor=actor, now=now)
    state = await check_change(uow, change, now=now)
    statement = text(f"WITH {ME} {_LOCKED.format(matching=where)}")
    locked = await uow.session.execute(statement, values)
    ids = [row.id for row in locked]
    if "assignee_id" in change.model_fields_set:
        await uow.session.execute(
            ASSIGN, {"ids": ids, "assignee_id": change.assignee_id, "now": now}
        )
    if state.state is not None:
        named = {"state": state.state.value, "until": state.snoozed_until}
        await uow.session.execute(SET_STATE, {"ids": ids, "now": now, **named})
    elif state.is_awake:
        await uow.session.execute(END_SNOOZE, {"ids": ids, "now": now})


async def check_change(uow: UnitOfWork, change: BulkChange, *, now: datetime) -> WantedState:
    """Check a change to several conversations, and return the state that it sets.

    Raises:
        InvalidSnoozeError: ``state`` and ``snoozed_until`` do not fit together, or
            ``snoozed_until`` is in the past or more than one year ahead.
        UnknownAssigneeError: The assignee is not an active user.
    """
    state = wanted_state(change.of_one(), now=now)
    await check_assignee(uow, change.assignee_id, subject="conversations")
    return state


ASSIGN = text("""
    UPDATE conversation k SET assignee_id = CAST(:assignee_id AS uuid), updated_at = :now
    WHERE k.id = ANY(CAST(:ids AS uuid[]))
      AND k.assignee_id IS DISTINCT FROM CAST(:assignee_id AS uuid)
""")

# The rules of this statement and of the next one must be the same as in `changes.state_values`,
# which changes one conversation.
END_SNOOZE = text(f"""
    UPDATE conversation k
    SET state = CASE WHEN k.waiting_since IS NULL THEN '{ConversationState.OPEN.value}'
                     ELSE '{ConversationState.WAITING.value}' END,
        snoozed_until = NULL, updated_at = :now
    WHERE k.id = ANY(CAST(:ids AS uuid[])) AND k.state = '{ConversationState.SNOOZED.value}'
""")

SET_STATE = text(f"""
    UPDATE conversation k
    SET state = CAST(:state AS text), snoozed_until = CAST(:until AS timestamptz),
        waiting_since = n.since, updated_at = :now,
        decided_at = CASE WHEN n.is_decision THEN CAST(:now AS timestamptz) ELSE k.decided_at END,
        decided_since = CASE WHEN n.is_decision THEN n.since ELSE k.decided_since END
    FROM (
        SELECT c.id, CAST(:state AS text) <> '{ConversationState.SNOOZED.value}' AS is_decision,
               CASE CAST(:state AS text)
                   WHEN '{ConversationState.SNOOZED.value}' THEN c.waiting_since
                   WHEN '{ConversationState.WAITING.value}'
                   THEN coalesce(c.waiting_since, c.last_incoming_at, :now) END AS since
        FROM conversation c WHERE c.id = ANY(CAST(:ids AS uuid[]))
    ) n
    WHERE k.id = n.id
      AND (k.state, k.snoozed_until) IS DISTINCT FROM
          (CAST(:state AS text), CAST(:until AS timestamptz))
""")
