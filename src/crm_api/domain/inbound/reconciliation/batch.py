"""Listed items that are compared together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_api.domain.provider.openphone.facts import ProviderEvent
from crm_api.domain.provider.openphone.json_values import mapping, text
from crm_api.domain.provider.openphone.listed_calls import events_of_call
from crm_api.domain.provider.openphone.listing import CallExtras


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCall:
    """A call as listed, with the person whose list it came from, which the item does not name."""

    item: Any
    person: str
    own: str | None
    conversation_id: str | None

    def events(self, extras: CallExtras) -> list[ProviderEvent]:
        """Return the events that webhooks would have sent for the call.

        Raises:
            UnreadableEventError: The call has no id or no time.
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
    """A time span whose messages on these lines are all in the batch; ``after`` is excluded.

    Attributes:
        near: Ids that were listed just outside the span.
    """

    lines: Sequence[str]
    after: datetime
    until: datetime
    near: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedThread:
    """The messages or the calls of one line with one person.

    Attributes:
        line: The provider's id of the line.
        kind: ``message`` or ``call``.
    """

    line: str
    person: str
    kind: str


@dataclass(slots=True)
class Batch:
    """Listed items by id, so that an item listed twice counts once.

    Attributes:
        nameless: Number of items without an id.
        span: The span whose messages are all here; None when they were read by thread.
        threads: Threads whose items are all here.
        unread: Threads that the provider refused, with its reason.
    """

    messages: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, ListedCall] = field(default_factory=dict)
    nameless: int = 0
    pages: int = 0
    span: Span | None = None
    threads: list[ListedThread] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.messages) + len(self.calls) + self.nameless

    def add_messages(self, items: Sequence[Any]) -> None:
        """Add a page of messages."""
        for item in items:
            item_id = id_of(item)
            if item_id is None:
                self.nameless += 1
            else:
                self.messages.setdefault(item_id, item)

    def add_calls(
        self, items: Sequence[Any], *, person: str, own: str | None, conversation_id: str | None
    ) -> None:
        """Add a page of calls."""
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
    """Return the id of a listed item; None if it has none."""
    return text(mapping(item).get("id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedItem:
    """One message or call to apply.

    Attributes:
        at: When it happened; items are applied in this order.
        changed_at: When it reached its current state.
        was: Its stored state; None when it is not stored.
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
        """True when the item is stored, in another state."""
        return self.was is not None
