"""Report who views a conversation or writes in it, so that no two users answer the same message."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.event_log import EventType, record_event
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.platform.database import UnitOfWork

LIVES_FOR = timedelta(seconds=15)
"""How long a reported presence is valid. The console repeats the report before this time ends."""
KEPT_FOR = timedelta(minutes=1)
"""How long a presence event is stored. Streams that reconnect after a short break still get it."""


class PresenceActivity(StrEnum):
    """What a user does in a conversation.

    Attributes:
        VIEWING: The user views the conversation.
        TYPING: The user writes a message.
    """

    VIEWING = "viewing"
    TYPING = "typing"


NAME_OF = text("""
    SELECT coalesce(
        (SELECT u.name FROM app_user u WHERE u.id = CAST(:id AS uuid)),
        (SELECT a.name FROM api_key a WHERE a.id = CAST(:id AS uuid)))
""")


async def report_presence(
    uow: UnitOfWork,
    *,
    conversation_id: UUID,
    caller_id: UUID,
    activity: PresenceActivity,
    now: datetime,
) -> None:
    """Emit an event which says that the caller views a conversation or writes a message in it.

    The event is valid for ``LIVES_FOR``.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    name = await uow.session.scalar(NAME_OF, {"id": str(caller_id)})
    await record_event(
        uow,
        type=EventType.CONVERSATION_PRESENCE,
        subject_id=conversation_id,
        data={
            "user_id": str(caller_id),
            "name": name or "",
            "activity": activity.value,
            "until": (now + LIVES_FOR).isoformat(),
        },
    )


FORGET_PRESENCE = text("""
    DELETE FROM event WHERE type = 'conversation.presence'
       AND recorded_at < CAST(:before AS timestamptz)
""")


async def forget_presence(uow: UnitOfWork, *, now: datetime) -> None:
    """Delete the events about presence that are older than ``KEPT_FOR``.

    An event stream that reconnects needs only newer events.
    """
    await uow.session.execute(FORGET_PRESENCE, {"before": now - KEPT_FOR})
