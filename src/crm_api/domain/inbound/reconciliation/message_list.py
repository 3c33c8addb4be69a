"""Read all messages of the workspace, newest first, from the list of API version 2026-03-30."""

from datetime import UTC, datetime, timedelta

from crm_api.domain.inbound.reconciliation.batch import Span
from crm_api.domain.inbound.reconciliation.reading import PageGuard, Position, Reading, read_time
from crm_api.domain.provider.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.provider.openphone.json_values import instant, mapping
from crm_api.domain.provider.openphone.listing import ListPage

SKEW = timedelta(seconds=5)
"""Maximum difference between the stored time of a message and the provider's time. The two times
differ if the provider's response to the request to send contained no time."""
LIST_LAG = timedelta(minutes=2)
"""A message that is younger than this may not be in the list yet."""
MILLISECOND = timedelta(milliseconds=1)
"""A list request begins this much earlier and ends this much later than the time span of the run.
The provider leaves out messages at the exact bounds. Its times have a resolution of one
millisecond."""
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
MOST_NEAR = 20_000
"""Maximum number of message ids that a run stores in the member ``near`` of its position (see
``walking``). If more messages are near the edge of the time span, no message near the edge is
reported as absent."""
NO_SUCH_LIST = frozenset({400, 404, 405, 410, 501})
"""HTTP statuses that mean that the provider's host has only API v1, so it does not have this list.
"""
TOKEN_REFUSED = frozenset({400, 404, 410, 422})
"""HTTP statuses with which the provider refuses a page token."""


def begin(reading: Reading, *, lines: dict[str, str]) -> Position:
    """Return the position at which a reconciliation run begins to read the message list.

    A position is the progress of a run, stored as JSON.

    Args:
        lines: The phone number of each line, by the provider's id of the line.
    """
    edge = min(reading.run.until, reading.now() - LIST_LAG)
    return {
        "stage": "messages",
        "lines": lines,
        "token": None,
        "pages": 0,
        "edge": edge.isoformat(),
        "near": {},
    }


async def read(reading: Reading, position: Position, *, after: Position) -> bool | None:
    """Read pages of the provider's message list, until the list ends or the job's time is up.

    Args:
        position: How far the run has read; updated after each page.
        after: The start position of the next stage. It is copied into ``position`` when the list
            has ended.

    Returns:
        True if the list has ended; False if the time was up first; None if the provider does not
        have this list.

    Raises:
        OpenPhoneBusyError: The provider is unavailable or its response is unreadable; try later.
        OpenPhoneListError: The list repeats itself or does not end.
        OpenPhoneRefusedError: The provider refused the request; a retry cannot succeed.
        RunLostError: Another worker has taken over the run.
    """
    guard = PageGuard(pages=position["pages"])
    while True:
        try:
            page = await reading.page(lambda: _page(reading, position))
        except OpenPhoneRefusedError as error:
            if _begin_below(position, error):
                guard = PageGuard(pages=position["pages"])
                continue
            if position["token"] is None and error.status in NO_SUCH_LIST:
                return None
            raise
        guard.check(page)
        reading.batch.add_messages(page.items)
        position.update(token=page.next_token, pages=guard.pages)
        is_last = page.next_token is None or _is_before(page, reading.run.since)
        if is_last or reading.is_due or reading.is_over():
            cover(reading, position, is_last=is_last)
            if is_last:
                position.update(after)
            await reading.write(position)
        if is_last:
            return True
        if reading.is_over():
            return False


async def _page(reading: Reading, position: Position) -> ListPage:
    since, below = reading.run.since, read_time(position.get("below"))
    return await reading.provider.lists.workspace_messages(
        after=None if since is None else since - MILLISECOND,
        before=below or reading.run.until + MILLISECOND,
        token=position["token"],
    )


def _begin_below(position: Position, error: OpenPhoneRefusedError) -> bool:
    """After the provider refused a page token, prepare to read the list again without a token.

    The reading continues at the oldest message that was already compared.

    Returns:
        True if ``position`` was prepared. False, without a change, in these cases:

        - The refusal is not about a page token.
        - No batch was written yet.
        - The list was already read again from the same message.
    """
    reached = position.get("reached")
    if position["token"] is None or error.status not in TOKEN_REFUSED:
        return False
    if reached is None or reached == position.get("begun_below"):
        return False
    below = datetime.fromisoformat(reached) + MILLISECOND
    position.update(token=None, below=below.isoformat(), begun_below=reached)
    return True


def _is_before(page: ListPage, since: datetime | None) -> bool:
    """Return whether all messages of a page are older than the run's time span.

    The list has such pages if the provider ignores the limit ``after``.
    """
    if since is None:
        return False
    times = [at for item in page.items if (at := _made_at(item)) is not None]
    return bool(times) and max(times) < since - SKEW


def cover(reading: Reading, position: Position, *, is_last: bool) -> None:
    """Set ``batch.span``, the time span for which the batch has all messages of the list.

    A stored message in the span is missing at the provider if it is neither in the batch nor in
    ``Span.near``. Each batch of a run has older messages than the previous batch:

    - The span ends at ``edge``. This is usually the start of the previous span.
    - The span begins ``SKEW`` after the oldest message of the batch, because the stored time and
      the listed time of a message differ by at most ``SKEW``. The last span begins at the ``since``
      of the run.
    - ``near`` gets the messages whose listed time is not later than ``SKEW`` after the start of the
      span. The stored times of these messages may be in the next span.
    - If ``near`` would have more than ``MOST_NEAR`` messages, ``near`` is emptied, and the next
      span ends 2 ``SKEW`` before the start of this span.

    ``edge``, ``near`` and ``reached`` of ``position`` are updated.
    """
    batch = reading.batch
    times = {message_id: _made_at(item) for message_id, item in batch.messages.items()}
    known = [at for at in times.values() if at is not None]
    edge = read_time(position["edge"]) or reading.run.until
    if is_last:
        low = (reading.run.since or BEGINNING) - SKEW
    elif known:
        low = min(known)
    else:
        return
    lower = min(low + SKEW, edge)
    listed = _near(position)
    batch.span = Span(lines=list(position["lines"]), after=lower, until=edge, near=list(listed))
    listed.update((message_id, at) for message_id, at in times.items() if at is not None)
    near = {message_id: at.isoformat() for message_id, at in listed.items() if at <= lower + SKEW}
    if len(near) > MOST_NEAR:
        # There are too many ids of messages near the edge of the time span to store them. The ids
        # are dropped, and the edge is moved to an earlier time. So these messages are in the time
        # span of no batch.
        near, lower = {}, lower - 2 * SKEW
    position.update(edge=lower.isoformat(), near=near, reached=low.isoformat())


def _near(position: Position) -> dict[str, datetime]:
    """Return the member ``near`` of ``position``: ids of messages, and their times in the list."""
    near = position["near"]
    if not isinstance(near, dict):  # the previous release stored a list
        return dict.fromkeys(near, datetime.fromisoformat(position["edge"]))
    return {message_id: datetime.fromisoformat(at) for message_id, at in near.items()}


def _made_at(item: object) -> datetime | None:
    return instant(mapping(item).get("createdAt"))
