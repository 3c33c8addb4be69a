"""Lists of events that a calendar server ends before they are complete."""

from collections.abc import Sequence
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from crm_api.domain.kit.addresses import ANY_PORT, AddressPolicy
from crm_api.domain.sales.calendar_accounts.dav_client import MOST_PAGES, Changes, DavClient, Login

LOOPBACK = AddressPolicy(ports=ANY_PORT, loopback_ports=ANY_PORT, needs_tls=True)
LOGIN = Login(username="olga", password="abcd-efgh")  # noqa: S106 - of a server in the tests
CALENDAR = "/olga/visits/"
ALL = [f"{CALENDAR}{number}.ics" for number in range(MOST_PAGES + 5)]


class PagingServer:
    """A calendar server that lists one event in each response to a sync request.

    Attributes:
        has_tokens: False if the responses have no sync token.
    """

    def __init__(self, *, has_tokens: bool) -> None:
        self.has_tokens = has_tokens

    async def report(self, request: web.Request) -> web.Response:
        token = (await request.text()).partition("<d:sync-token>")[2].partition("<")[0]
        begin = int(token or 0)
        page, is_cut = ALL[begin : begin + 1], begin + 1 < len(ALL)
        return _listing(page, is_cut=is_cut, token=str(begin + 1) if self.has_tokens else None)

    async def propfind(self, _: web.Request) -> web.Response:
        return _listing(ALL, is_cut=False, token=None)


def _listing(hrefs: Sequence[str], *, is_cut: bool, token: str | None) -> web.Response:
    entries = [
        f"<d:response><d:href>{quote(href)}</d:href><d:propstat><d:prop>"
        f"<d:getetag>&quot;1&quot;</d:getetag></d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        for href in hrefs
    ]
    if is_cut:
        entries.append(
            f"<d:response><d:href>{CALENDAR}</d:href>"
            "<d:status>HTTP/1.1 507 Insufficient Storage</d:status></d:response>"
        )
    if token is not None:
        entries.append(f"<d:sync-token>{token}</d:sync-token>")
    body = f'<d:multistatus xmlns:d="DAV:">{"".join(entries)}</d:multistatus>'
    return web.Response(status=207, text=body, content_type="application/xml")


async def _list(server: PagingServer, token: str | None) -> Changes:
    app = web.Application()
    app.router.add_route("REPORT", CALENDAR, server.report)
    app.router.add_route("PROPFIND", CALENDAR, server.propfind)
    async with (
        TestServer(app) as running,
        DavClient(str(running.make_url(CALENDAR)), LOGIN, policy=LOOPBACK) as client,
    ):
        return await client.list_changes(token)


@pytest.mark.parametrize("has_tokens", [True, False])
async def test_list_that_ends_early_is_replaced_by_a_complete_list(*, has_tokens: bool) -> None:
    found = await _list(PagingServer(has_tokens=has_tokens), None)

    assert found.is_whole
    assert sorted(found.changed) == sorted(ALL)


async def test_many_pages_of_changes_are_continued_by_the_next_request() -> None:
    server = PagingServer(has_tokens=True)

    found = await _list(server, "2")

    assert not found.is_whole
    assert sorted(found.changed) == sorted(ALL[2 : 2 + MOST_PAGES])
    rest = await _list(server, found.token)
    assert sorted(rest.changed) == sorted(ALL[2 + MOST_PAGES :])
