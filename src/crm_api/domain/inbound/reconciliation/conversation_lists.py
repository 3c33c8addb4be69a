"""Read the phone calls of the provider's conversations; with API v1, also read the messages.

API v1 has no list of all messages, so the messages of each conversation are read. The phone calls
of a conversation with several people are not read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from crm_api.domain.inbound.reconciliation.batch import ListedThread, id_of
from crm_api.domain.inbound.reconciliation.message_list import SKEW
from crm_api.domain.inbound.reconciliation.reading import PageGuard, Position, Reading, read_time
from crm_api.domain.provider.openphone.errors import OpenPhoneRefusedError, UnreadableEventError
from crm_api.domain.provider.openphone.facts import ConversationFacts
from crm_api.domain.provider.openphone.listing import ListPage
from crm_api.domain.provider.openphone.wire import parse_conversation

THREAD_REFUSED = frozenset({400, 403, 404, 422})
"""HTTP statuses of a refusal that concerns one conversation only, for example because a phone call
had more than two parties."""
TOGETHER = 4
"""Number of conversations that are read at the same time. A response may take longer than the
interval between two requests. So if conversations were read one by one, the rate limit would not be
used fully."""


def begin(now: datetime, *, is_v1: bool) -> Position:
    """Return the position (progress as JSON) at which the reading of conversations begins.

    Args:
        is_v1: True for API v1. It has no list of all messages, so the messages of each
            conversation are read too.
    """
    return {
        "stage": "threads",
        "is_v1": is_v1,
        "token": None,
        "pages": 0,
        "done": [],
        "began_at": now.isoformat(),
        "near": {},
    }


async def read(reading: Reading, position: Position) -> bool:
    """Read the provider's conversations page by page, until the list ends or the time is up.

    ``position`` names a stage (see ``walking``). Each stage reads the conversations that were
    updated since a certain time. If the run has no start time, the first stage reads all
    conversations. At the end of the list, the next stage is stored in ``position``.

    Returns:
        True at the end of the list; False if the time was up first.

    Raises:
        OpenPhoneBusyError: The provider is unavailable or its response is unreadable; try later.
        OpenPhoneListError: A list repeats itself or does not end.
        OpenPhoneRefusedError: The provider refused the request; a retry cannot succeed.
        RunLostError: Another worker has taken over the run.
    """
    guard = PageGuard(pages=position["pages"])
    while True:
        page = await reading.page(lambda: _page(reading, position))
        guard.check(page)
        left = [item for item in page.items if id_of(item) not in position["done"]]
        for start in range(0, len(left), TOGETHER):
            await _read_together(reading, position, left[start : start + TOGETHER])
            if reading.is_due or reading.is_over():
                await reading.write(position)
            if reading.is_over():
                return False
        position.update(token=page.next_token, done=[], pages=guard.pages)
        if page.next_token is None:
            position.update(_next_stage(position))
            await reading.write(position)
            return True


async def _page(reading: Reading, position: Position) -> ListPage:
    is_late = position["stage"] == "late_threads"
    after = read_time(position["began_at"]) if is_late else reading.run.since
    return await reading.provider.lists.conversations(
        updated_after=None if after is None else after - SKEW, token=position["token"]
    )


def _next_stage(position: Position) -> Position:
    if position["stage"] == "late_threads":
        return {"stage": "done"}
    return {"stage": "late_threads", "token": None, "pages": 0, "done": []}


async def _read_together(reading: Reading, position: Position, items: Sequence[object]) -> None:
    """Read several conversations at the same time, and wait until all reads have ended.

    Then raise the first error, if there was one.
    """
    reads = (_read_one(reading, position, item) for item in items)
    for failure in await asyncio.gather(*reads, return_exceptions=True):
        if failure is not None:
            raise failure


async def _read_one(reading: Reading, position: Position, item: object) -> None:
    batch = reading.batch
    try:
        conversation = parse_conversation(item)
        if position["is_v1"]:
            await _read_messages(reading, conversation)
        if len(conversation.participants) == 1:
            await _read_calls(
                reading, conversation, position["lines"].get(conversation.phone_number_id)
            )
    except UnreadableEventError as error:
        batch.unread.append(error.detail)
    except OpenPhoneRefusedError as error:
        if error.status not in THREAD_REFUSED:
            raise
        batch.unread.append(error.detail)
    position["done"] = [*position["done"], id_of(item)]


async def _read_messages(reading: Reading, conversation: ConversationFacts) -> None:
    async def read_page(token: str | None) -> ListPage:
        return await reading.provider.lists.thread_messages(
            phone_number_id=conversation.phone_number_id,
            participants=conversation.participants,
            after=reading.run.since,
            before=reading.run.until,
            token=token,
        )

    await _read_whole_list(reading, read_page, reading.batch.add_messages)
    if len(conversation.participants) == 1:
        _add_thread(reading, conversation, "message")


async def _read_calls(reading: Reading, conversation: ConversationFacts, own: str | None) -> None:
    [person] = conversation.participants
    batch = reading.batch

    async def read_page(token: str | None) -> ListPage:
        return await reading.provider.lists.thread_calls(
            phone_number_id=conversation.phone_number_id,
            participant=person,
            after=reading.run.since,
            before=reading.run.until,
            token=token,
        )

    def add(items: list[Any]) -> None:
        batch.add_calls(items, person=person, own=own, conversation_id=conversation.conversation_id)

    await _read_whole_list(reading, read_page, add)
    _add_thread(reading, conversation, "call")


def _add_thread(reading: Reading, conversation: ConversationFacts, kind: str) -> None:
    [person] = conversation.participants
    reading.batch.threads.append(
        ListedThread(line=conversation.phone_number_id, person=person, kind=kind)
    )


async def _read_whole_list(
    reading: Reading,
    read_page: Callable[[str | None], Awaitable[ListPage]],
    add: Callable[[list[Any]], None],
) -> None:
    guard = PageGuard()
    token: str | None = None
    while True:
        await reading.pace.wait_for_request()
        page = await read_page(token)
        reading.batch.pages += 1
        guard.check(page)
        add(page.items)
        token = page.next_token
        if token is None:
            return
