"""Request and response models of the inbox."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StrictBool

from crm_api.domain.kit.examples import CAMPAIGN, NOW, REPLY, example, example_id
from crm_api.domain.kit.fields import RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.messaging.models.timeline import Direction, MessageStatus
from crm_api.domain.office.inbox.presence import PresenceActivity
from crm_api.domain.office.inbox.rows import InboxRow


class ConversationContact(ReadModel):
    """The contact of a conversation.

    Attributes:
        first_name: The first name; null if unknown.
        last_name: The last name; null if unknown.
        company: The company of the contact; null if unknown.
    """

    model_config = example(first_name="Ada", last_name="Lovelace", company=None)

    id: Id
    first_name: str | None
    last_name: str | None
    company: str | None


class LastMessage(ReadModel):
    """The last message of a conversation.

    Attributes:
        direction: `incoming` or `outgoing`.
        body_preview: The first 160 characters of the text; empty if the message has no text or was
            erased.
        at: When the message was sent or received, by the provider's clock.
        status: The state of the message.
    """

    model_config = example(direction="incoming", body_preview=REPLY, at=NOW, status="received")

    id: Id
    direction: Annotated[str, Vocabulary(Direction)]
    body_preview: str
    at: Instant
    status: Annotated[str, Vocabulary(MessageStatus)]


class ConversationAssignee(ReadModel):
    """The user who is responsible for a conversation.

    Attributes:
        name: The name of the user.
    """

    model_config = example(name="Olga Meyer")

    id: Id
    name: str


class ConversationCampaign(ReadModel):
    """The campaign to which the person's last reply belongs.

    Attributes:
        name: The name of the campaign.
    """

    model_config = example(id=CAMPAIGN, name="Quincy in November")

    id: Id
    name: str


class ConversationRead(ReadModel):
    """All messages and calls between one phone line and one phone number outside the company.

    Attributes:
        line_id: The id of the phone line.
        phone: The person's phone number in E.164, or another identifier, such as a short code.
        contact_id: The id of the contact with this phone number; null if there is none.
        contact: The names of the contact; null if there is no contact or it was deleted.
        state: The state of the conversation.
        waiting_since: When the person began to wait for an answer; null if the person does not
            wait.
        unread_count: The received messages that you have not read. Messages from before your user
            or API key was created count as read.
        last_message: The last message; null if there were only calls.
        assignee: The user who is responsible; null if nobody is.
        snoozed_until: When the conversation comes back; null if it is not snoozed.
        has_draft: Whether you have stored a draft of a message in this conversation.
        campaign: The campaign to which the person's last reply belongs; null if there is none.
        flags: The flags of the phone number, in alphabetical order.
        last_activity_at: When the last message or call happened.
        last_outgoing_at: When the company last called, or sent a message that the provider
            accepted; null if never.
        last_incoming_at: When the person last sent a message; null if never. Calls do not count.
        updated_at: When the conversation last changed.
    """

    model_config = example(
        phone="+16175550123",
        state="waiting",
        waiting_since=NOW,
        unread_count=1,
        assignee=None,
        snoozed_until=None,
        has_draft=False,
        flags=[],
    )

    id: Id
    line_id: Id
    phone: str
    contact_id: Id | None
    contact: ConversationContact | None
    state: Annotated[str, Vocabulary(ConversationState)]
    waiting_since: Instant | None
    unread_count: int
    last_message: LastMessage | None
    assignee: ConversationAssignee | None
    snoozed_until: Instant | None
    has_draft: bool
    campaign: ConversationCampaign | None
    flags: list[str]
    last_activity_at: Instant
    last_outgoing_at: Instant | None
    last_incoming_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, row: InboxRow) -> Self:
        """Build the response from a conversation of the inbox."""
        last = None
        if row.message_id is not None:
            last = LastMessage.model_validate(
                {
                    "id": row.message_id,
                    "direction": row.message_direction,
                    "body_preview": row.message_preview or "",
                    "at": row.message_at,
                    "status": row.message_status,
                }
            )
        contact = None
        if row.contact_id is not None and row.is_contact_known:
            contact = ConversationContact(
                id=row.contact_id,
                first_name=row.first_name,
                last_name=row.last_name,
                company=row.company,
            )
        assignee = campaign = None
        if row.assignee_id is not None:
            assignee = ConversationAssignee(id=row.assignee_id, name=row.assignee_name or "")
        if row.campaign_id is not None and row.campaign_name is not None:
            campaign = ConversationCampaign(id=row.campaign_id, name=row.campaign_name)
        plain = {name: getattr(row, name) for name in _PLAIN}
        return cls.model_validate(
            {
                **plain,
                "last_message": last,
                "contact": contact,
                "assignee": assignee,
                "campaign": campaign,
            }
        )


_PLAIN = (
    *("id", "line_id", "phone", "contact_id", "state", "waiting_since", "unread_count"),
    *("snoozed_until", "has_draft", "flags", "last_activity_at", "last_outgoing_at"),
    *("last_incoming_at", "created_at", "updated_at"),
)


class ConversationUpdate(RequestModel):
    """The fields of a conversation to change. A field that is left out keeps its value.

    Attributes:
        state: The new state. With `done` and `open`, the person no longer waits for an answer. With
            `waiting`, the person waits. `snoozed` needs `snoozed_until`.
        snoozed_until: When the conversation comes back, at most a year from now. It sets the state
            `snoozed`; null ends a snooze.
        assignee_id: The id of the user who is responsible; null if nobody is.
        confirm: True takes the conversation from another user. Otherwise, the request is refused
            with 409, `conversation_taken`.
    """

    model_config = example(state="snoozed", snoozed_until="2026-12-01T14:00:00Z")

    state: ConversationState = ConversationState.OPEN
    snoozed_until: RequestInstant | None = None
    assignee_id: UUID | None = None
    confirm: StrictBool = False


class ConversationCounts(ReadModel):
    """The number of conversations to work on. Each count is the length of a list of the inbox.

    Attributes:
        waiting: Conversations in the state `waiting`.
        open: Conversations in the state `open`.
        snoozed: Conversations in the state `snoozed`.
        unread: Waiting and open conversations with messages that you have not read.
        mine: Waiting and open conversations for which you are responsible.
        unassigned: Waiting and open conversations for which nobody is responsible.
    """

    model_config = example(waiting=7, open=12, snoozed=3, unread=5, mine=4, unassigned=6)

    waiting: int
    open: int
    snoozed: int
    unread: int
    mine: int
    unassigned: int


class PresenceReport(RequestModel):
    """What you do in a conversation.

    Attributes:
        activity: `viewing` or `typing`. The report is valid for 15 seconds. Send it again before
            this time is over.
    """

    model_config = example(activity="typing")

    activity: PresenceActivity


class ReadUntil(RequestModel):
    """The last message that you have read in a conversation.

    Attributes:
        message_id: The last message that you have read. If you leave it out, all messages that have
            arrived count as read.
    """

    model_config = example(message_id=example_id("message"))

    message_id: UUID | None = Field(default=None)
