"""Reads conversations, the last active first, and by them calls and, on v1 alone, texts."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from crm_api.domain.openphone.errors import OpenPhoneRefusedError, UnreadableEventError
from crm_api.domain.openphone.facts import ConversationFacts
from crm_api.domain.openphone.listing import ListPage
from crm_api.domain.openphone.wire import parse_conversation
from crm_api.domain.reconciliation.batch import id_of
from crm_api.domain.reconciliation.guard import PageGuard
from crm_api.domain.reconciliation.reading import Position, Reading, read_time
from crm_api.domain.reconciliation.texts import SKEW

THREAD_REFUSED = frozenset({400, 403, 404, 422})
"""The provider will not show this one, for example because more than two took part in a call."""


def begin(now: datetime, *, is_v1: bool) -> Position:
    """Return where the reading of conversations begins.

    Args:
        is_v1: Texts are read by conversation too, for there is no list of all.
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
    """Read pages of conversations until they or the time are over.

    What becomes active while the list is read moves to its top, past the pages that are still to
    come: a second, short reading looks at those.

    Returns:
        False when the time was over before.

    Raises:
        OpenPhoneBusyError: The provider is away or makes no sense; later may be better.
        OpenPhoneListError: A list does not come to its end.
        OpenPhoneRefusedError: It said no, and will again.
        RunLostError: Another worker goes on with the run.
    """
    guard = PageGuard(pages=position["pages"])
    while True:
        page = await reading.page(lambda: _page(reading, position))
        guard.check(page)
        for item in page.items:
            item_id = id_of(item)
            if item_id in position["done"]:
                continue
            await _read_one(reading, position, item)
            position["done"] = [*position["done"], item_id]
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


async def _read_one(reading: Reading, position: Position, item: object) -> None:
    batch = reading.batch
    try:
        talk = parse_conversation(item)
        if position["is_v1"]:
            await _read_texts(reading, talk)
        if len(talk.participants) == 1:
            await _read_calls(reading, talk, position["lines"].get(talk.phone_number_id))
    except UnreadableEventError as error:
        batch.unread.append(error.detail)
    except OpenPhoneRefusedError as error:
        if error.status not in THREAD_REFUSED:
            raise
        batch.unread.append(error.detail)


async def _read_texts(reading: Reading, talk: ConversationFacts) -> None:
    async def read_page(token: str | None) -> ListPage:
        return await reading.provider.lists.thread_messages(
            phone_number_id=talk.phone_number_id,
            participants=talk.participants,
            after=reading.run.since,
            before=reading.run.until,
            token=token,
        )

    await _to_the_end(reading, read_page, reading.batch.add_messages)
    if len(talk.participants) == 1:
        reading.batch.threads.append((talk.phone_number_id, talk.participants[0], "message"))


async def _read_calls(reading: Reading, talk: ConversationFacts, own: str | None) -> None:
    [person] = talk.participants
    batch = reading.batch

    async def read_page(token: str | None) -> ListPage:
        return await reading.provider.lists.thread_calls(
            phone_number_id=talk.phone_number_id,
            participant=person,
            after=reading.run.since,
            before=reading.run.until,
            token=token,
        )

    def add(items: list[Any]) -> None:
        batch.add_calls(items, person=person, own=own, conversation_id=talk.conversation_id)

    await _to_the_end(reading, read_page, add)
    batch.threads.append((talk.phone_number_id, person, "call"))


async def _to_the_end(
    reading: Reading,
    read_page: Callable[[str | None], Awaitable[ListPage]],
    add: Callable[[list[Any]], None],
) -> None:
    guard = PageGuard()
    token: str | None = None
    while True:
        await reading.turns.take()
        page = await read_page(token)
        reading.batch.pages += 1
        guard.check(page)
        add(page.items)
        token = page.next_token
        if token is None:
            return
