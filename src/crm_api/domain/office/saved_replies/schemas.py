"""Request and response schemas of saved replies."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from crm_api.domain.campaigns.templates.schemas import Body
from crm_api.domain.campaigns.templates.template_text import compile_body, list_variables
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.message_segments import Encoding
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.conversations.schemas import MessageRead
from crm_api.domain.office.saved_replies.models import SavedReply
from crm_api.domain.people.tags.schemas import TagName

BODY = 'Thank you, {{ first_name | default: "there" }}. We call you tomorrow to find a day.'


class FollowingState(StrEnum):
    """The state that a conversation gets when a saved reply is used in it.

    Attributes:
        WAITING: The person waits for another answer.
        OPEN: The conversation goes on.
        DONE: Nothing is left to do.
    """

    WAITING = "waiting"
    OPEN = "open"
    DONE = "done"


class SavedReplyEffects(RequestModel):
    """The effects of using the saved reply. A field that is null has no effect.

    Attributes:
        tag: A tag that the contact gets.
        reply_class: The class that the last message of the person gets, as with
            `PUT /v1/messages/{id}/reply-class`. The class `stop` also opts the person out.
        state: The state that the conversation gets.
    """

    model_config = example(tag="call-back", reply_class="interested", state="done")

    tag: TagName | None = None
    reply_class: ReplyClass | None = None
    state: FollowingState | None = None


class SavedReplyCreate(RequestModel):
    """A new saved reply.

    Attributes:
        name: The name of the saved reply. No other saved reply may have it.
        body: The text of the message, in Liquid. It can use the same variables as a campaign.
        then: What happens when a user uses the saved reply: for example, the contact gets a tag.
    """

    model_config = example(
        name="Call back",
        body=BODY,
        then={"tag": "call-back", "reply_class": "interested", "state": "done"},
    )

    name: Name200
    body: Body
    then: SavedReplyEffects = Field(default_factory=SavedReplyEffects)


class SavedReplyUpdate(RequestModel):
    """Changes to a saved reply. Fields that the request leaves out do not change.

    Attributes:
        name: The name of the saved reply. No other saved reply may have it.
        body: The text of the message, in Liquid, with the same variables as a campaign.
        then: The effects of the use of the saved reply. They replace all previous effects.
    """

    model_config = example(then={"state": "open"})

    name: Name200 = ""
    body: Body = ""
    then: SavedReplyEffects = Field(default_factory=SavedReplyEffects)


class SavedReplyEffectsRead(ReadModel):
    """The effects of using the saved reply. A field that is null has no effect.

    Attributes:
        tag: A tag that the contact gets.
        reply_class: The class that the last message of the person gets.
        state: The state that the conversation gets.
    """

    model_config = example(tag="call-back", reply_class="interested", state="done")

    tag: str | None
    reply_class: Annotated[str, Vocabulary(ReplyClass)] | None
    state: Annotated[str, Vocabulary(FollowingState)] | None


class SavedReplyRead(ReadModel):
    """A reply that users send often.

    Attributes:
        name: The name of the saved reply.
        body: The text of the message, in Liquid.
        variables: The variables in the body, such as ``first_name`` or ``attributes.roof``.
        then: The effects of using the saved reply.
    """

    model_config = example(name="Call back", body=BODY, variables=["first_name"])

    id: Id
    name: str
    body: str
    variables: list[str]
    then: SavedReplyEffectsRead
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: SavedReply) -> Self:
        """Build the response from a stored reply."""
        names = SavedReplyEffectsRead.model_fields
        return cls.built_from(
            found,
            variables=list_variables(compile_body(found.body)),
            then=SavedReplyEffectsRead(**{name: found.following.get(name) for name in names}),
        )


class SavedReplyPreview(ReadModel):
    """The message that is written if a saved reply is used for a certain contact.

    Attributes:
        body: The text of the message.
        encoding: The encoding of the message.
        segments: The number of segments of the message. The provider charges for each segment.
        then: The effects of using the saved reply.
    """

    model_config = example(
        body="Thank you, Ada. We call you tomorrow to find a day.", encoding="GSM-7", segments=1
    )

    body: str
    encoding: Encoding
    segments: int
    then: SavedReplyEffectsRead


class SavedReplyUse(RequestModel):
    """A request to apply the effects of a saved reply to a conversation.

    One effect, for example, is that the contact gets a tag.

    Attributes:
        saved_reply_id: The id of the saved reply.
    """

    model_config = example(saved_reply_id=example_id("saved_reply"))

    saved_reply_id: UUID


class SavedReplyUsed(ReadModel):
    """The effects of a saved reply that were applied to a conversation.

    Attributes:
        tag: The tag that the saved reply gave the contact; null if it gave none.
        message: The person's last message, with its new class; null if no class was set.
        state: The state that the saved reply sets; null if none. A message received at the same
            moment sets `waiting` instead.
    """

    model_config = example(tag="call-back", message=None, state="done")

    tag: str | None
    message: MessageRead | None
    state: Annotated[str, Vocabulary(FollowingState)] | None
