"""What was listed and is to be compared in one go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_api.domain.openphone.facts import ProviderEvent
from crm_api.domain.openphone.json_values import mapping, text
from crm_api.domain.openphone.listed_calls import events_of_call
from crm_api.domain.openphone.listing import CallExtras


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCall:
    """A call as listed, and what its list does not say: whom it was listed for."""

    item: Any
    person: str
    own: str | None
    conversation_id: str | None

    def events(self, extras: CallExtras) -> list[ProviderEvent]:
        """Tell the call as webhooks would have told it.

        Raises:
            UnreadableEventError: It has no id or no time.
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
    """A span of time of which everything on these lines is in the batch; ``after`` is excluded.

    Attributes:
        near: Ids that were listed just beyond the edges.
    """

    lines: Sequence[str]
    after: datetime
    until: datetime
    near: Sequence[str] = ()


@dataclass(slots=True)
class Batch:
    """Listed items by their ids, so that one that comes twice counts once.

    Attributes:
        nameless: Items without an id.
        span: Of which all texts are here; None when they are here by thread.
        threads: Line, person and kind of which all is here.
        unread: Threads that the provider refused, with its reason.
    """

    messages: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, ListedCall] = field(default_factory=dict)
    nameless: int = 0
    pages: int = 0
    span: Span | None = None
    threads: list[tuple[str, str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.messages) + len(self.calls) + self.nameless

    def add_messages(self, items: Sequence[Any]) -> None:
        """Take a page of texts."""
        for item in items:
            item_id = id_of(item)
            if item_id is None:
                self.nameless += 1
            else:
                self.messages.setdefault(item_id, item)

    def add_calls(
        self, items: Sequence[Any], *, person: str, own: str | None, conversation_id: str | None
    ) -> None:
        """Take a page of calls."""
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
    """Return the id of a listed item."""
    return text(mapping(item).get("id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One message or call that is to be applied.

    Attributes:
        at: When it happened; the earlier are applied first.
        changed_at: When it came to what it is now.
        was: Its state here; None when it is not known.
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
        """True when it is here already, in another state."""
        return self.was is not None
