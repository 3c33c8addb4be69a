"""Request and response models of changes to many conversations."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Line200, PhoneNumber, RequestInstant
from crm_api.domain.kit.schemas import Id, RequestModel
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.schemas import ConversationUpdate
from crm_api.domain.office.inbox.selection import (
    NOBODY,
    InboxAssignee,
    InboxFilter,
    read_states,
)
from crm_api.domain.people.tags.schemas import TagName

MOST_IDS = 500


class InboxSelection(RequestModel):
    """A filter for conversations, with the parameters of GET /v1/conversations.

    An empty filter selects all conversations.

    Attributes:
        state: Only conversations in these states, separated by commas.
        assignee: Only conversations for which this user is responsible: `me` for you, `none` for
            nobody, or the id of a user.
        unread: True: only conversations with messages that you have not read. False: only the
            others.
        line_id: Only conversations of this phone line.
        campaign_id: Only conversations whose last reply belongs to this campaign.
        contact_id: Only conversations with this contact.
        phone: Only conversations with this phone number.
        flag: Only conversations with phone numbers that have this flag.
    """

    model_config = example(state="waiting,open", campaign_id=example_id("campaign"))

    state: Line200 | None = None
    assignee: InboxAssignee | UUID | None = None
    unread: StrictBool | None = None
    line_id: UUID | None = None
    campaign_id: UUID | None = None
    contact_id: UUID | None = None
    phone: PhoneNumber | None = None
    flag: Line200 | None = None

    def wanted(self, user_id: UUID | None) -> InboxFilter:
        """Convert the request's filter to the filter with which the database is searched.

        Args:
            user_id: The user whom ``me`` means; None for an API key.

        Raises:
            InvalidStatesError: A word in ``state`` is not a state.
        """
        assignee: UUID | str | None = None
        if self.assignee == InboxAssignee.ME:
            assignee = user_id
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
        state: The new state, as in a change of one conversation.
        snoozed_until: When the conversations come back. It is required for the state `snoozed`.
        assignee_id: The id of the user who is responsible; null if nobody is.
        add_tag: A tag that the contacts of the conversations get. It needs the scope
            `contacts:write`.
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
        """Return the request body that makes this change in one conversation.

        ``add_tag`` is left out, because it changes the contact, not the conversation.
        """
        given = self.model_fields_set - {"add_tag"}
        return ConversationUpdate.model_validate({name: getattr(self, name) for name in given})


class ConversationsUpdate(DryRunRequest):
    """A change of many conversations: give either ``ids`` or ``filter``.

    Attributes:
        ids: The ids of the conversations to change. Ids that do not exist are ignored.
        filter: The filter that selects the conversations to change.
        set: The changes.
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
        count: The number of conversations.
    """

    model_config = example(token=None, count=412)

    count: int
