"""Notices a list that cannot be trusted: pages that come again, tokens without end."""

from collections import deque
from collections.abc import Sequence

from crm_api.domain.openphone.errors import OpenPhoneListError
from crm_api.domain.openphone.listing import ListPage
from crm_api.domain.reconciliation.batch import id_of

REMEMBERED_PAGES = 200
MOST_EMPTY = 3
"""Empty pages in a row, each with a token to go on."""
MOST_PAGES = 20_000
"""Of one list: a million texts. One that goes on beyond is taken to be broken, not long."""


class PageGuard:
    """Watches the pages of one list as they come; remembers the last few hundred of them.

    A page whose items all came before was given in place of another one: what that one held is
    not known, so the list must not be taken for whole.
    """

    def __init__(self, *, pages: int = 0) -> None:
        """Begin to watch.

        Args:
            pages: How many pages of the list were read before, when a reading goes on.
        """
        self.pages = pages
        self._tokens: set[str] = set()
        self._ids: set[str] = set()
        self._remembered: deque[Sequence[str]] = deque()
        self._empty = 0

    def check(self, page: ListPage) -> None:
        """Take note of a page.

        Raises:
            OpenPhoneListError: The list repeats itself or does not come to its end.
        """
        self.pages += 1
        ids = [item_id for item in page.items if (item_id := id_of(item)) is not None]
        token = page.next_token
        if ids and self._ids.issuperset(ids):
            raise OpenPhoneListError("The list gave a page again in place of the next one.")
        self._empty = 0 if page.items else self._empty + 1
        if token is None:
            return
        if self._empty >= MOST_EMPTY:
            raise OpenPhoneListError(f"The list gave {MOST_EMPTY} empty pages and goes on.")
        if token in self._tokens:
            raise OpenPhoneListError("The list gave the same page token again.")
        if self.pages >= MOST_PAGES:
            raise OpenPhoneListError(f"The list has more than {MOST_PAGES:,} pages.")
        self._tokens.add(token)
        self._ids.update(ids)
        self._remembered.append(ids)
        if len(self._remembered) > REMEMBERED_PAGES:
            self._ids.difference_update(self._remembered.popleft())
