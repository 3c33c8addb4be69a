"""SQL that finds messages of all conversations, newest first.

"In order" means newest first. A "written" message is a message that a person or an employee of the
company wrote by hand. Automatic messages, such as campaign messages, are not written messages.

First, a limited number of messages is read in order. This is fast if many messages match. If too
few of the read messages match, all matches are looked up in the trigram index and sorted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CompoundSelect,
    Select,
    SQLColumnExpression,
    Text,
    Uuid,
    and_,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union,
)
from sqlalchemy.orm import aliased
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.messaging.models.timeline import Activity, Direction, MessageStatus
from crm_api.domain.office.message_search.terms import NOBODY, Term, TermPeople
from crm_api.domain.people.models.contacts import Contact

Position = tuple[datetime, UUID]
"""The instant and id of the last message of the previous page. The next page begins after it."""
Condition = ColumnElement[bool]

MOST_NAMED = 3
"""The largest number of terms that are looked up as names. A person rarely has more names."""

_SHORT = 4
_FOUND = (Activity.id, Activity.occurred_at, Activity.conversation_id)
_NEEDED = (*_FOUND, Activity.contact_id, Activity.body)
"""The columns that the search for conversations reads of each message in order."""
_Message = type[Activity] | ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]
"""Messages, or the columns of a subquery of messages."""

# The values are constants in the SQL text, so that the planner can use the partial indexes.
IS_MESSAGE = "activity.kind = 'message'"
IS_WRITTEN = f"{IS_MESSAGE} AND activity.origin IN ('manual', 'provider')"
# This is the condition of `IS_WRITTEN` in a form for which PostgreSQL cannot use a partial index.
# With `IS_WRITTEN`, PostgreSQL would read all entries of the index of written messages, in addition
# to the index of people.
IS_WRITTEN_TOO = f"{IS_MESSAGE} AND coalesce(activity.origin, '') IN ('manual', 'provider')"


@dataclass(frozen=True, kw_only=True)
class MessageFilter:
    """The conditions for messages in a list. A message must meet all conditions that are given.

    Attributes:
        q: Search words. Each word must occur in the message, or in the name or phone number of its
            person.
        since: Only messages at or after this instant.
        until: Only messages before this instant.
    """

    q: str = ""
    direction: Direction | None = None
    status: MessageStatus | None = None
    campaign_id: UUID | None = None
    contact_id: UUID | None = None
    line_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    reply_class: ReplyClass | None = None


@dataclass(frozen=True, kw_only=True)
class MessageSelection:
    """Builds the SQL statements that find the messages of a filter.

    Attributes:
        terms: The terms of ``wanted.q``.
        people: For each term, up to ``MOST_PEOPLE`` people whose names or numbers contain the term.
            If more people match, the search can miss old messages of the people that are left out.
        people_of_all: People whose names or phone numbers contain all terms.
    """

    wanted: MessageFilter
    terms: Sequence[Term] = ()
    people: Sequence[TermPeople] = ()
    people_of_all: TermPeople = NOBODY

    @property
    def has_many_people(self) -> bool:
        """True if ``people`` is incomplete, because too many people match a search term."""
        return not all(one.is_complete for one in self.people)

    @property
    def has_typos(self) -> bool:
        """True if at least one search term also matches similar words, such as misspelt ones."""
        return any(term.word is not None for term in self.terms)

    @property
    def similarity(self) -> float:
        """The threshold for similar words: the smallest word similarity that matches, from 0 to 1.

        These similarities were measured:

        - ``basment`` and ``basement``: 0.75.
        - ``fundation`` and ``foundation``: 0.67.
        - ``insepction`` and ``inspection``: 0.47.
        - Two words of four letters that differ in one letter: 0.4.

        So the threshold is 0.4 if a search word has four letters or fewer, otherwise 0.45.
        """
        words = [term.word for term in self.terms if term.word is not None]
        return 0.4 if any(len(word) <= _SHORT for word in words) else 0.45

    def in_order(self, after: Position | None, *, size: int) -> Select[Activity]:
        """Return a statement that reads ``size`` messages, newest first, and selects the matches.

        Args:
            after: The position of the last message that was read before; None to begin with the
                newest message.
            size: The number of messages to read.
        """
        window = self._window(after, size=size).subquery("near")
        message = aliased(Activity, window)
        found = select(message).where(*self._conditions(message))
        if self.terms:
            found = found.where(self._contains_all(message))
        return found.order_by(*_newest_first(message))

    def conversations_in_order(
        self, after: Position | None, *, size: int, limit: int
    ) -> Select[UUID | None]:
        """Return a statement that finds conversations by their messages, newest message first.

        The statement reads only the next ``size`` messages after the position ``after``. A message
        matches if it contains all search words. The statement returns the conversation ids of the
        first ``limit`` matches. If a conversation has several matches, its id is returned several
        times.
        """
        near = self._window(after, size=size, columns=_NEEDED).subquery("near").c
        return (
            select(near.conversation_id)
            .where(self._contains_all(near))
            .order_by(*_newest_first(near))
            .limit(limit)
        )

    def similar_in_order(self, after: Position | None, *, size: int) -> Select[Activity]:
        """Return a statement that finds messages with words similar to the search words.

        Messages that contain exactly the search words are left out. The statement searches the next
        ``size`` messages, from new to old.

        Args:
            after: The position of the last message that was searched before; None to begin with the
                newest.
        """
        window = self._window(after, size=size).subquery("near")
        message = aliased(Activity, window)
        found = select(message).where(
            *self._conditions(message),
            *(_resembles(_text_of(message), term) for term in self.terms),
            ~self._contains_all(message),
        )
        return found.order_by(*_newest_first(message))

    def end_of_window(self, after: Position | None, *, size: int) -> Select[datetime, UUID]:
        """Return a statement that finds the oldest of the next ``size`` messages.

        The next messages follow the position ``after``, from new to old. The result is one row with
        the time and the id of the oldest of them. If fewer than ``size`` messages follow, the
        result has no row.

        Args:
            after: The position of the last message that was read before; None to begin with the
                newest message.
        """
        window = select(Activity.occurred_at, Activity.id).where(*self._range(after))
        return window.order_by(*_newest_first(Activity)).offset(size - 1).limit(1)

    def by_words(self, after: Position | None, *, limit: int) -> Select[Activity]:
        """Return a query that finds all messages with the terms and keeps the newest ``limit``."""
        return _first(self._matches(after), limit=limit)

    def conversations_by_words(self, after: Position | None, *, limit: int) -> Select[UUID | None]:
        """Select the conversations of the messages that the method ``by_words`` finds."""
        found = self._matches(after).cte("matches").prefix_with("MATERIALIZED").c
        return select(found.conversation_id).order_by(*_newest_first(found)).limit(limit)

    def _matches(self, after: Position | None) -> "_Found":
        """Select the messages that have each term in the text or in the person's name or number."""
        span = [*self._span(after), *self._conditions(Activity)]
        texts = select(*_FOUND).where(
            literal_column(IS_WRITTEN),
            *span,
            *(_contains(_text_of(Activity), term) for term in self.terms),
        )
        named = [one.ids for one in self.people[:MOST_NAMED]]
        people = {*self.people_of_all.ids, *(one for ids in named for one in ids)}
        if not people:
            return texts
        of_people = select(*_FOUND).where(
            literal_column(IS_WRITTEN_TOO),
            *span,
            _is_of(Activity, sorted(people)),
            self._contains_all(Activity),
        )
        return union(texts, of_people)

    def by_similar_words(
        self, after: Position | None, *, limit: int, ids: tuple[UUID | None, UUID | None]
    ) -> Select[Activity]:
        """Return the statement for messages that have words similar to the terms, newest first.

        Messages that contain all terms exactly are left out.

        Args:
            after: The position of the last message of the previous page; None for the first page.
            ids: Two limits, each None for no limit. The statement finds only messages whose id is
                equal to or greater than the first limit, and less than the second. Newer messages
                have greater ids.
        """
        low, high = ids
        texts = select(*_FOUND).where(
            literal_column(IS_WRITTEN),
            *self._span(after),
            *self._conditions(Activity),
            *(_resembles(_text_of(Activity), term) for term in self.terms),
            ~self._contains_all(Activity),
            *([] if low is None else [Activity.id >= low]),
            *([] if high is None else [Activity.id < high]),
        )
        return _first(texts, limit=limit)

    def _window(
        self, after: Position | None, *, size: int, columns: Sequence[Any] = (Activity,)
    ) -> Select[Any]:
        """Select the next ``size`` messages, newest first.

        The limit is a subquery, so that PostgreSQL does not know the limit when it plans the
        statement (see ``people.contacts.search``).
        """
        window = select(*columns).where(*self._range(after)).order_by(*_newest_first(Activity))
        return window.limit(select(literal(size)).scalar_subquery())

    def _range(self, after: Position | None) -> list[Condition]:
        """Return conditions with which PostgreSQL can read messages from an index, newest first.

        A message must meet these conditions:

        - It comes after the position ``after``.
        - Its time is in the filter's period (``since`` and ``until``).
        - If the filter has a contact, the message belongs to this contact. If not, and the filter
          has terms or selects only received messages, it is a written message.

        The method ``_conditions`` checks the other fields of the filter.
        """
        wanted = self.wanted
        if wanted.contact_id is not None:
            of_person = Activity.contact_id == wanted.contact_id
            return [literal_column(IS_MESSAGE), of_person, *self._span(after)]
        is_incoming = wanted.direction is Direction.INCOMING or wanted.reply_class is not None
        kind = IS_WRITTEN if self.terms or is_incoming else IS_MESSAGE
        return [literal_column(kind), *self._span(after)]

    def _span(self, after: Position | None) -> list[Condition]:
        """Return the conditions on the time of a message: the filter's times and ``after``."""
        found: list[Condition] = []
        if self.wanted.since is not None:
            found.append(Activity.occurred_at >= self.wanted.since)
        if self.wanted.until is not None:
            found.append(Activity.occurred_at < self.wanted.until)
        if after is not None:
            found.append(tuple_(Activity.occurred_at, Activity.id) < after)
        return found

    def _conditions(self, message: type[Activity]) -> list[Condition]:
        wanted = self.wanted
        values = {
            message.direction: wanted.direction,
            message.status: wanted.status,
            message.campaign_id: wanted.campaign_id,
            message.contact_id: wanted.contact_id,
            message.line_id: wanted.line_id,
            message.reply_class: wanted.reply_class,
        }
        return [column == value for column, value in values.items() if value is not None]

    def _contains_all(self, message: _Message) -> Condition:
        """Return the condition that each term is in the message, or in its person's name or number.

        The condition is never null, so that it can be negated.
        """
        text = _text_of(message)
        found: list[Condition] = []
        for number, term in enumerate(self.terms):
            in_text = func.coalesce(_contains(text, term), false())
            people = self.people[number] if self.people else NOBODY
            if not people.is_complete:
                found.append(or_(in_text, _is_named(message, term)))
            elif people.ids:
                is_theirs = func.coalesce(_is_of(message, people.ids), false())
                found.append(or_(in_text, is_theirs))
            else:
                found.append(in_text)
        return and_(*found)


def _newest_first(message: _Message) -> list[ColumnElement[Any]]:
    return [message.occurred_at.desc(), message.id.desc()]


def _text_of(message: _Message) -> ColumnElement[str]:
    """Return the SQL expression of a message's text, as it is in the trigram index."""
    return literal_column("' '", Text).concat(func.search_fold(message.body))


def _is_of(message: _Message, people: Sequence[UUID]) -> Condition:
    return message.contact_id == func.any(literal(list(people), ARRAY(Uuid())))


def _is_named(message: _Message, term: Term) -> Condition:
    """Return the condition that the name or phone number of a message's contact contains a term.

    The condition is a subquery that reads the contact of each message. If it were an EXISTS,
    PostgreSQL would first read all contacts with the term. That is slow if there are many.
    """
    named = select(literal(1)).where(
        Contact.id == message.contact_id, _contains(Contact.search_text, term)
    )
    return named.correlate_except(Contact).scalar_subquery().is_not(None)


def _contains(text: SQLColumnExpression[str], term: Term) -> Condition:
    return or_(*(text.like(pattern) for pattern in term.patterns))


def _resembles(text: ColumnElement[str], term: Term) -> Condition:
    return (
        _contains(text, term) if term.word is None else text.op("%>", is_comparison=True)(term.word)
    )


_Found = Select[UUID, datetime, UUID | None] | CompoundSelect[UUID, datetime, UUID | None]


def _first(found: _Found, *, limit: int) -> Select[Activity]:
    """Return a query for the newest ``limit`` messages of those that the query ``found`` finds.

    With ``MATERIALIZED``, PostgreSQL runs ``found`` first. Otherwise, it would read all messages,
    newest first, and check each of them, until ``limit`` messages match.
    """
    matches = found.cte("matches").prefix_with("MATERIALIZED")
    first = (
        select(matches.c.id, matches.c.occurred_at)
        .order_by(matches.c.occurred_at.desc(), matches.c.id.desc())
        .limit(limit)
        .subquery("first")
    )
    return (
        select(Activity)
        .join(first, first.c.id == Activity.id)
        .order_by(first.c.occurred_at.desc(), first.c.id.desc())
    )
