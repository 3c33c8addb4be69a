"""Reads all texts of the workspace by the list of 2026-03-30, newest first."""

from datetime import UTC, datetime, timedelta

from crm_api.domain.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.openphone.json_values import instant, mapping
from crm_api.domain.openphone.listing import ListPage
from crm_api.domain.reconciliation.batch import Span
from crm_api.domain.reconciliation.guard import PageGuard
from crm_api.domain.reconciliation.reading import Position, Reading, read_time

SKEW = timedelta(seconds=5)
"""Times of a text here and there may differ so much, when the answer to its send had none."""
LIST_LAG = timedelta(minutes=2)
"""A text that is younger need not be listed yet."""
MILLISECOND = timedelta(milliseconds=1)
"""The provider's bounds are exclusive, and its times have no less."""
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
MOST_NEAR = 20_000
"""Texts in the ten seconds around an edge whose ids are kept; beyond it none is called absent."""
NO_SUCH_LIST = frozenset({400, 404, 405, 410, 501})
"""How a host that has only v1 answers for a list that it does not have."""
TOKEN_REFUSED = frozenset({400, 404, 410, 422})


def begin(reading: Reading, *, lines: dict[str, str]) -> Position:
    """Return where a run begins; ``lines`` are own numbers by the provider's id."""
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
    """Read pages until the list or the time is over.

    Args:
        after: What the position becomes with the last page.

    Returns:
        False when the time was over before; None when the provider has no such list.

    Raises:
        OpenPhoneBusyError: The provider is away or makes no sense; later may be better.
        OpenPhoneListError: The list does not come to its end.
        OpenPhoneRefusedError: It said no, and will again.
        RunLostError: Another worker goes on with the run.
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
        is_last = page.next_token is None or _lies_before(page, reading.run.since)
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
    """Begin a new list below what is written, when its token is no longer taken; only once."""
    reached = position.get("reached")
    if position["token"] is None or error.status not in TOKEN_REFUSED:
        return False
    if reached is None or reached == position.get("begun_below"):
        return False
    below = datetime.fromisoformat(reached) + MILLISECOND
    position.update(token=None, below=below.isoformat(), begun_below=reached)
    return True


def _lies_before(page: ListPage, since: datetime | None) -> bool:
    """Say whether a page lies before the run's beginning: the list goes on too far."""
    if since is None:
        return False
    times = [at for item in page.items if (at := _made_at(item)) is not None]
    return bool(times) and max(times) < since - SKEW


def cover(reading: Reading, position: Position, *, is_last: bool) -> None:
    """Say of which span of time all texts are in the batch: what lies in it and is not, is absent.

    Its lower edge stays clear of the oldest text by the skew: what lies there is compared with
    the next batch, which knows the ids around the edge.
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
        # What lies within the skew of this batch is judged by none: its ids are forgotten.
        near, lower = {}, lower - 2 * SKEW
    position.update(edge=lower.isoformat(), near=near, reached=low.isoformat())


def _near(position: Position) -> dict[str, datetime]:
    """Return what was listed around the edge, and when each was made."""
    near = position["near"]
    if not isinstance(near, dict):  # written by the release before
        return dict.fromkeys(near, datetime.fromisoformat(position["edge"]))
    return {message_id: datetime.fromisoformat(at) for message_id, at in near.items()}


def _made_at(item: object) -> datetime | None:
    return instant(mapping(item).get("createdAt"))
