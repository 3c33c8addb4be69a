"""A batch of messages and calls from the provider's lists.

All items of a batch are compared with the stored data in one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_api.domain.provider.openphone.facts import ProviderEvent
from crm_api.domain.provider.openphone.json_values import mapping, text
from crm_api.domain.provider.openphone.listing import CallExtras, events_of_call


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCall:
    """A call from the provider's list of the calls with one person.

    The field ``item`` is the call, as JSON. This JSON does not contain the person's phone number,
    so the field ``person`` contains the number.
    """

    item: Any
    person: str
    own: str | None
    conversation_id: str | None

    def events(self, extras: CallExtras) -> list[ProviderEvent]:
        """Return the events that webhooks would have sent for the call.

        Args:
            extras: The recordings, voicemail, summary and transcript to include in the events.

        Raises:
            UnreadableEventError: The call has no id or no time of creation.
        """
        return events_of_call(
            self.item,
            person=self.person,
            own=self.own,
            conversation_id=self.conversation_id,
            extras=extras,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time span for which the batch contains all messages that the provider lists.

    Attributes:
        lines: The provider's ids of the phone lines whose messages are listed.
        after: The start of the span, exclusive.
        until: The end of the span, inclusive.
        near: The ids of messages that do not count as missing, because an earlier batch has them.
    """

    lines: Sequence[str]
    after: datetime
    until: datetime
    near: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedThread:
    """One of the provider's lists: all messages, or all calls, between one line and one person.

    Attributes:
        line: The provider's id of the line.
        person: The phone number of the person.
        kind: ``message`` or ``call``.
    """

    line: str
    person: str
    kind: str


@dataclass(slots=True)
class Batch:
    """Messages and calls that were read from the provider's lists, by id.

    Attributes:
        nameless: The number of messages and calls without an id.
        pages: The number of pages that were read.
        span: The time span for which the batch has all messages; None if the messages were not read
            from a list of all messages.
        threads: The lists that were read completely. Each list has all messages, or all calls, of
            one conversation.
        unread: One sentence for each conversation that could not be read, with the reason.
    """

    messages: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, ListedCall] = field(default_factory=dict)
    nameless: int = 0
    pages: int = 0
    span: Span | None = None
    threads: list[ListedThread] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of messages and calls in the batch, including those without an id."""
        return len(self.messages) + len(self.calls) + self.nameless

    def add_messages(self, items: Sequence[Any]) -> None:
        """Add a page of the provider's messages; skip messages that are already in the batch."""
        for item in items:
            item_id = id_of(item)
            if item_id is None:
                self.nameless += 1
            else:
                self.messages.setdefault(item_id, item)

    def add_calls(
        self, items: Sequence[Any], *, person: str, own: str | None, conversation_id: str | None
    ) -> None:
        """Add a page of listed calls; skip calls that are already in the batch.

        Args:
            own: The phone number of our line; None if it is not known.
            conversation_id: The provider's id of the conversation; None if it is not known.
        """
        for item in items:
            item_id = id_of(item)
            if item_id is None:
                self.nameless += 1
            else:
                call = ListedCall(
                    item=item, person=person, own=own, conversation_id=conversation_id
                )
                self.calls.setdefault(item_id, call)


def id_of(item: object) -> str | None:
    """Return the id of a listed item; None if the item has no id."""
    return text(mapping(item).get("id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedItem:
    """A message or call in the provider's lists that must be stored or updated here.

    Attributes:
        at: When the message or call happened. Items are applied in the order of this time.
        changed_at: When the message or call reached its current status.
        was: The stored status of the item; None if the item is not stored.
        now: The status of the item at the provider.
    """

    id: str
    kind: str
    direction: str | None
    at: datetime
    changed_at: datetime
    events: Sequence[ProviderEvent]
    was: str | None
    now: str | None

    @property
    def is_known(self) -> bool:
        """True if the message or call is already stored in our database."""
        return self.was is not None
