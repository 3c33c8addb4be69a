"""Change the state, snooze and assignee of a conversation, and store what a user has read."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update

from crm_api.domain.identity.users.models import User
from crm_api.domain.messaging.conversations.drafts import emit_own_change
from crm_api.domain.messaging.conversations.errors import MessageNotFoundError
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.domain.messaging.models.conversations import Conversation, ConversationState
from crm_api.domain.messaging.models.timeline import Activity, ActivityKind
from crm_api.domain.office.inbox.errors import ConversationTakenError, InvalidSnoozeError
from crm_api.domain.office.inbox.schemas import ConversationUpdate
from crm_api.domain.people.tasks.service import check_assignee
from crm_api.platform.database import UnitOfWork, affected, typed_row

WAKE = text("""
    WITH due AS (
        SELECT k.id FROM conversation k
        WHERE k.snoozed_until <= CAST(:now AS timestamptz)
        ORDER BY k.line_id, k.phone LIMIT :limit
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE conversation k
    SET state = CASE WHEN k.waiting_since IS NULL THEN 'open' ELSE 'waiting' END,
        snoozed_until = NULL, updated_at = :now
    FROM due WHERE k.id = due.id
""")


async def wake_conversations(uow: UnitOfWork, *, limit: int, now: datetime) -> int:
    """End the snooze of conversations whose ``snoozed_until`` has passed; return their number.

    One call changes at most ``limit`` conversations. A conversation becomes ``waiting`` if the
    person still waits for an answer, otherwise ``open``.
    """
    woken = await uow.session.execute(WAKE, {"limit": limit, "now": now})
    return affected(woken)


MARK = text("""
    INSERT INTO conversation_read AS known (caller_id, conversation_id, read_until)
    VALUES (:caller_id, :conversation_id, :read_until)
    ON CONFLICT (caller_id, conversation_id) DO UPDATE
    SET read_until = excluded.read_until WHERE known.read_until < excluded.read_until
    RETURNING conversation_id
""")


async def mark_read(
    uow: UnitOfWork, *, conversation_id: UUID, caller_id: UUID, message_id: UUID | None
) -> None:
    """Store that a caller has read a conversation up to a message.

    If the caller has already read the conversation up to a later message, nothing changes.

    Args:
        caller_id: The user or API key.
        message_id: The last message that was read; None for all messages that have arrived.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        MessageNotFoundError: The conversation has no message with this id.
    """
    conversation = await get_conversation(uow, conversation_id=conversation_id)
    until: datetime | None = conversation.last_incoming_at
    if message_id is not None:
        message = await uow.session.get(Activity, message_id)
        is_here = message is not None and message.conversation_id == conversation_id
        if message is None or not is_here or message.kind != ActivityKind.MESSAGE:
            raise MessageNotFoundError(
                "The conversation has no message with this id. GET "
                "/v1/conversations/{id}/messages lists its messages."
            )
        until = message.occurred_at
    if until is not None:
        values = {"caller_id": str(caller_id), "conversation_id": conversation_id}
        marked = await uow.session.scalars(MARK, {**values, "read_until": until})
        await emit_own_change(uow, conversation_ids=list(marked), caller_id=str(caller_id))


LONGEST_SNOOZE = timedelta(days=366)


@dataclass(frozen=True, kw_only=True)
class WantedState:
    """The state that a request sets.

    Attributes:
        state: The new state; None if the request sets no state.
        snoozed_until: When the snooze ends; None if none is requested.
        is_awake: True if the request ends the snooze of the conversation, and sets no state. If the
            conversation is not snoozed, its state does not change.
    """

    state: ConversationState | None
    snoozed_until: datetime | None
    is_awake: bool = False


def wanted_state(changes: ConversationUpdate, *, now: datetime) -> WantedState:
    """Return the state that a request sets.

    Raises:
        InvalidSnoozeError: ``state`` and ``snoozed_until`` do not fit together, or the time is in
            the past or more than one year ahead.
    """
    given = changes.model_fields_set
    until = changes.snoozed_until
    state = changes.state if "state" in given else None
    if state is None and until is not None:
        state = ConversationState.SNOOZED
    if state is not ConversationState.SNOOZED:
        if until is not None:
            raise InvalidSnoozeError(
                f"The state {state} and `snoozed_until` do not fit together. Leave out one of the "
                "two, or send the state `snoozed`."
            )
        is_awake = state is None and "snoozed_until" in given
        return WantedState(state=state, snoozed_until=None, is_awake=is_awake)
    if until is None:
        raise InvalidSnoozeError(
            "The state `snoozed` needs `snoozed_until`: the time when the conversation comes back."
        )
    if until <= now:
        raise InvalidSnoozeError
    if until > now + LONGEST_SNOOZE:
        raise InvalidSnoozeError(
            "The time in `snoozed_until` is more than a year ahead. Give an earlier time."
        )
    return WantedState(state=state, snoozed_until=until)


ASKING_IDS = """CASE WHEN k.waiting_since IS NOT NULL THEN ARRAY(
        SELECT a.id FROM activity a
        WHERE a.conversation_id = k.id AND a.occurred_at >= k.waiting_since
          AND a.asked_at IS NOT NULL
        ORDER BY a.id) END"""
"""SQL expression of the ids of the messages and calls of conversation ``k`` that need an answer and
are not older than ``waiting_since``; NULL if the person does not wait. In a conversation that
already waits, a missed call changes neither ``waiting_since`` nor ``last_incoming_at``, but it
changes these ids."""

READ_ASKING_IDS = text(f"SELECT {ASKING_IDS} FROM conversation k WHERE k.id = :id")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locked:
    id: UUID
    state: str
    waiting_since: datetime | None
    last_incoming_at: datetime | None
    assignee_id: UUID | None


LOCK_CONVERSATION = text("""
    SELECT k.id, k.state, k.waiting_since, k.last_incoming_at, k.assignee_id
    FROM conversation k WHERE k.id = :id FOR NO KEY UPDATE
""")


async def update_conversation(
    uow: UnitOfWork,
    changes: ConversationUpdate,
    *,
    conversation_id: UUID,
    user_id: UUID | None,
    now: datetime,
) -> None:
    """Change state, snooze or assignee of a conversation.

    While this function runs, the person may send a message, make a call that is missed, begin to
    wait, or stop waiting. In this case, state and snooze do not change, because the user did not
    know this when the user made the request.

    Args:
        user_id: The user who sends the request; None for an API key.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        InvalidSnoozeError: ``state`` and ``snoozed_until`` do not fit together, or the time is in
            the past or more than one year ahead.
        UnknownAssigneeError: The assignee is not an active user.
        ConversationTakenError: Another user is responsible, and the request does not send
            ``confirm``.
    """
    wanted = wanted_state(changes, now=now)
    asking_ids = await uow.session.scalar(READ_ASKING_IDS, {"id": conversation_id})
    seen = await get_conversation(uow, conversation_id=conversation_id)
    if "assignee_id" in changes.model_fields_set:
        await check_assignee(uow, changes.assignee_id, subject="conversation")
    found = await uow.session.execute(LOCK_CONVERSATION, {"id": conversation_id})
    locked = typed_row(_Locked, found.one())
    values: dict[str, Any] = {}
    if "assignee_id" in changes.model_fields_set:
        if changes.assignee_id == user_id is not None and not changes.confirm:
            await _require_free(uow, locked.assignee_id, user_id=user_id)
        values["assignee_id"] = changes.assignee_id
    # This is a separate statement after the lock. While a statement waits for a lock, it keeps its
    # old snapshot, so it would not see a new call.
    asking_ids_now = await uow.session.scalar(READ_ASKING_IDS, {"id": conversation_id})
    before = (seen.waiting_since, seen.last_incoming_at, asking_ids)
    if before == (locked.waiting_since, locked.last_incoming_at, asking_ids_now):
        values |= state_values(wanted, locked.state, locked.waiting_since, heard=locked, now=now)
    if values:
        await uow.session.execute(
            update(Conversation)
            .where(Conversation.id == conversation_id)
            .values({**values, "updated_at": now})
            .execution_options(synchronize_session=False)
        )


async def _require_free(uow: UnitOfWork, assignee_id: UUID | None, *, user_id: UUID | None) -> None:
    """Raise an error if another user is responsible for the conversation.

    Args:
        uow: The unit of work.
        assignee_id: The user who is responsible now; None if nobody is.
        user_id: The user who wants to become responsible.

    Raises:
        ConversationTakenError: Another user is responsible.
    """
    if assignee_id is not None and assignee_id != user_id:
        name = await uow.session.scalar(select(User.name).where(User.id == assignee_id))
        raise ConversationTakenError(assignee_id, name or "")


def state_values(
    wanted: WantedState,
    state: str,
    waiting_since: datetime | None,
    *,
    heard: _Locked,
    now: datetime,
) -> dict[str, Any]:
    """Return the new column values of a conversation after a user's request to change its state.

    The result is empty if nothing changes. If a user sets ``waiting`` and the person does not wait
    yet, ``waiting_since`` becomes the time of the person's last message, which is in ``heard``. If
    the person has sent no message, ``waiting_since`` becomes ``now``.
    """
    if wanted.state is ConversationState.SNOOZED:
        return {"state": wanted.state.value, "snoozed_until": wanted.snoozed_until}
    if wanted.is_awake and state == ConversationState.SNOOZED:
        is_waiting = waiting_since is not None
        back = ConversationState.WAITING if is_waiting else ConversationState.OPEN
        return {"state": back.value, "snoozed_until": None}
    if wanted.state is None or wanted.state == state:
        return {}
    since = None
    if wanted.state is ConversationState.WAITING:
        since = waiting_since or heard.last_incoming_at or now
    return {
        "state": wanted.state.value,
        "snoozed_until": None,
        "waiting_since": since,
        "decided_at": now,
        "decided_since": since,
    }
