"""Store the sandbox's messages in memory and, if a journal file is configured, in this file."""

import logging
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StoredMessage:
    """One message; ``seq`` is its position in the order of creation, from 1."""

    seq: int
    id: str
    direction: str
    sender: str
    to: tuple[str, ...]
    text: str
    phone_number_id: str
    user_id: str
    status: str
    created_at: datetime
    updated_at: datetime
    media: tuple[dict[str, str], ...] = ()
    error_code: str | None = None

    @property
    def participants(self) -> tuple[str, ...]:
        """The sorted phone numbers of the people in the conversation.

        The line and these phone numbers identify the conversation.
        """
        return tuple(sorted(self.to)) if self.direction == "outgoing" else (self.sender,)

    @property
    def conversation_id(self) -> str:
        """The id of the conversation; all messages between a line and the same people share it."""
        return conversation_id(self.phone_number_id, self.participants)


@dataclass(slots=True)
class Conversation:
    """A conversation: the messages and calls between a phone line and one or more people.

    The sandbox numbers the messages and calls of all conversations together, in the order in which
    they are added. ``seq`` is the number of this conversation's newest message or call. The list of
    conversations is sorted by ``seq``.
    """

    seq: int
    phone_number_id: str
    participants: tuple[str, ...]
    began_at: datetime
    last_at: datetime
    last_id: str


def conversation_id(phone_number_id: str, participants: tuple[str, ...]) -> str:
    """Return the id of a conversation; it depends only on the line and the people."""
    name = "|".join((phone_number_id, *participants)).encode()
    return "CN" + blake2b(name, digest_size=16).hexdigest()


class MessageStore:
    """All messages: by id, in the order of creation, and by conversation.

    If there is a journal file, the messages are read from it after a restart.
    """

    def __init__(self, journal: Path | None = None) -> None:
        self.by_id: dict[str, StoredMessage] = {}
        self.ordered: list[StoredMessage] = []
        self.conversations: dict[tuple[str, tuple[str, ...]], Conversation] = {}
        """All conversations, in the order of their newest activity. The newest conversation is the
        last."""
        self.line_of: dict[str, str] = {}
        """For the phone number of each person, the id of a phone line of the company.

        It is the line of the newest message or call between the company and the person.
        """
        self._activities = 0
        self._threads: dict[tuple[str, tuple[str, ...]], list[StoredMessage]] = {}
        self._path = journal
        self._file: int | None = None
        if journal is not None:
            self._load(journal)
            self._file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, message: StoredMessage) -> None:
        """Store a message in memory and, if there is a journal, in the journal."""
        self._index(message)
        self._write(
            {
                "seq": message.seq,
                "id": message.id,
                "direction": message.direction,
                "from": message.sender,
                "to": message.to,
                "text": message.text,
                "pn": message.phone_number_id,
                "user": message.user_id,
                "status": message.status,
                "at": message.created_at.timestamp(),
                "media": message.media,
            }
        )

    def update(
        self, message: StoredMessage, *, status: str, at: datetime, error_code: str | None = None
    ) -> None:
        """Set the status and the error code of a message. ``at`` is the time of this change."""
        message.status, message.updated_at, message.error_code = status, at, error_code
        self._write({"id": message.id, "set": status, "at": at.timestamp(), "code": error_code})

    def next_seq(self) -> int:
        """Return the ``seq`` for the next message."""
        return self.ordered[-1].seq + 1 if self.ordered else 1

    def newest_first(
        self,
        *,
        before_seq: int | None = None,
        thread: tuple[str, tuple[str, ...]] | None = None,
    ) -> Iterator[StoredMessage]:
        """Yield messages, newest first.

        Args:
            before_seq: Only messages with a smaller ``seq``; None for all.
            thread: Only messages of this conversation (line id and participants); None for all.
        """
        held = self.ordered if thread is None else self._threads.get(thread, [])
        end = len(held)
        if before_seq is not None:
            end = bisect_left(held, before_seq, key=lambda message: message.seq)
        for position in range(end - 1, -1, -1):
            yield held[position]

    def note_activity(
        self, phone_number_id: str, participants: tuple[str, ...], *, at: datetime, activity_id: str
    ) -> None:
        """Record the time and id of a message or call in its conversation.

        If the conversation does not exist, it is created.
        """
        self._activities += 1
        thread = (phone_number_id, participants)
        found = self.conversations.pop(thread, None) or Conversation(
            0, phone_number_id, participants, began_at=at, last_at=at, last_id=activity_id
        )
        found.seq, found.last_id = self._activities, activity_id
        found.last_at = max(found.last_at, at)
        self.conversations[thread] = found
        for person in participants:
            self.line_of[person] = phone_number_id

    def reset(self) -> None:
        """Delete all messages and conversations, and empty the journal."""
        self.by_id.clear()
        self.ordered.clear()
        self._threads.clear()
        self.conversations.clear()
        self.line_of.clear()
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Close the journal file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _index(self, message: StoredMessage) -> None:
        self.by_id[message.id] = message
        self.ordered.append(message)
        thread = (message.phone_number_id, message.participants)
        self._threads.setdefault(thread, []).append(message)
        self.note_activity(*thread, at=message.created_at, activity_id=message.id)

    def _write(self, entry: dict[str, Any]) -> None:
        # Each entry is written directly to the file, without a buffer. So a message is not lost if
        # the process is killed after it has responded.
        if self._file is not None:
            os.write(self._file, orjson.dumps(entry) + b"\n")

    def _load(self, journal: Path) -> None:
        if not journal.exists():
            journal.parent.mkdir(parents=True, exist_ok=True)
            return
        complete = 0
        with journal.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                try:
                    self._replay(orjson.loads(line))
                except (orjson.JSONDecodeError, KeyError):
                    _logger.warning("unreadable entry in the sandbox journal skipped")
                complete += len(line)
        # Remove an incomplete last line. A process that was killed may have left it.
        os.truncate(journal, complete)

    def _replay(self, entry: dict[str, Any]) -> None:
        at = datetime.fromtimestamp(entry["at"], UTC)
        if "set" in entry:
            message = self.by_id[entry["id"]]
            message.status, message.updated_at = entry["set"], at
            message.error_code = entry["code"]
            return
        self._index(
            StoredMessage(
                seq=entry["seq"],
                id=entry["id"],
                direction=entry["direction"],
                sender=entry["from"],
                to=tuple(entry["to"]),
                text=entry["text"],
                phone_number_id=entry["pn"],
                user_id=entry["user"],
                status=entry["status"],
                created_at=at,
                updated_at=at,
                media=tuple(entry["media"]),
            )
        )
