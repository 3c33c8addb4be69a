"""A client for a calendar of a CalDAV server (RFC 4791, RFC 6578), with limits on time and size."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from crm_api.domain.kit.addresses import AddressPolicy, AddressRefusedError, open_connector
from crm_api.domain.sales.calendar_accounts.errors import (
    CalendarServerError,
    CalendarTooLargeError,
)

MOST_BYTES = 10_000_000
"""The largest number of bytes that one synchronisation reads. A day of appointments needs a few kB.
"""
MOST_EVENTS = 5_000
"""The largest number of changed events that one synchronisation accepts."""
AT_ONCE = 50
"""The number of events that one request reads."""
MOST_PAGES = 20
"""The largest number of pages that one synchronisation reads. A server may report changes in pages
(RFC 6578, 3.6); the next synchronisation reads the remaining pages.
"""
REQUEST_SECONDS = 20.0
CONNECT_SECONDS = 5.0
OK, CREATED, NO_CONTENT, MULTI_STATUS = 200, 201, 204, 207
NOT_FOUND, GONE, STALE = 404, 410, 412
_DAV, _CAL = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_SYNC = (
    _HEAD + '<d:sync-collection xmlns:d="DAV:"><d:sync-token>{token}</d:sync-token>'
    "<d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>"
)
_LIST = _HEAD + '<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>'
_READ = (
    _HEAD + '<c:calendar-multiget xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
    "<d:prop><d:getetag/><c:calendar-data/></d:prop>{hrefs}</c:calendar-multiget>"
)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """An event of a calendar, as the CalDAV server stores it.

    Attributes:
        href: The path of the event on the server, as the server writes it.
        etag: The version of the event; None if the server did not report it.
        body: The iCalendar text; None if it was not requested.
    """

    href: str
    etag: str | None
    body: str | None = None


@dataclass(kw_only=True)
class Changes:
    """What has changed in a calendar.

    Attributes:
        changed: The paths of the new and the changed events, with the version of each event.
        deleted: The paths of events that were deleted.
        token: The sync token for the next request (RFC 6578); None if the server has no tokens.
        is_whole: True if ``changed`` lists all events of the calendar. Then a stored event that is
            missing in ``changed`` was deleted in the calendar.
    """

    changed: dict[str, str | None] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    token: str | None = None
    is_whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Login:
    """The user name and the password for a CalDAV server."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of the header ``Authorization`` (RFC 7617)."""
        return f"Basic {b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


class DavClient:
    """A client for one calendar; ``async with`` opens and closes its connection.

    Each request contains the password. So requests go only to the host of the calendar, and
    redirects are not followed.
    """

    def __init__(
        self,
        url: str,
        login: Login,
        *,
        policy: AddressPolicy,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Create a client.

        Args:
            url: The address of the calendar; it ends with a slash.
            login: User name and password.
            policy: Decides to which addresses requests may be sent.
            resolver: Replaces the system's resolver, for tests.
        """
        self._url = URL(url, encoded=True)
        self._login = login
        self._policy = policy
        self._resolver = resolver
        self._left = MOST_BYTES
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=open_connector(self._policy, resolver=self._resolver, keeps_open=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            headers={
                "authorization": self._login.header,
                "user-agent": "crm-api-calendars",
                "accept-encoding": "identity",
            },
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def list_changes(self, token: str | None) -> Changes:
        """Return the changes in the calendar that are later than a sync token (RFC 6578).

        If ``token`` is None, or if the server cannot use the token, return every event of the
        calendar.

        Raises:
            CalendarServerError: The server cannot be used now.
            CalendarTooLargeError: The calendar has too many events.
        """
        found = await self._sync(token)
        if found is None and token is not None:
            found = await self._sync(None)
        return found if found is not None else await self._list_all()

    async def read_events(self, hrefs: Sequence[str]) -> list[Resource]:
        """Read up to ``AT_ONCE`` events. Events that no longer exist are missing in the result.

        Raises:
            CalendarServerError: The server cannot be used now.
            CalendarTooLargeError: The events have too many bytes.
        """
        named = "".join(f"<d:href>{escape(href)}</d:href>" for href in hrefs)
        status, _, body = await self._call(
            "REPORT", self._url, body=_READ.format(hrefs=named), headers={"depth": "1"}
        )
        if status != MULTI_STATUS:
            raise _refused("read events", status)
        return [
            Resource(href=_text(one, "href"), etag=_etag(one), body=data)
            for one in _parse(body).iter(f"{_DAV}response")
            if (data := one.findtext(f".//{_CAL}calendar-data")) is not None
        ]

    async def write_event(self, href: str, body: bytes, *, etag: str | None) -> Resource | None:
        """Create an event, or replace an existing event.

        Args:
            body: The iCalendar text.
            etag: The version to replace; None creates the event.

        Returns:
            The event with its new version. None if nothing was written, for one of these reasons:

            - The event to create already exists.
            - The event to replace does not exist any more, or has another version than ``etag``.

        Raises:
            CalendarServerError: The server cannot be used now, or refuses the event.
        """
        condition = {"if-none-match": "*"} if etag is None else {"if-match": etag}
        headers = {**condition, "content-type": "text/calendar; charset=utf-8"}
        status, answer, _ = await self._call("PUT", self._at(href), body=body, headers=headers)
        if status in {STALE, NOT_FOUND, GONE}:
            return None
        if status not in {OK, CREATED, NO_CONTENT}:
            raise _refused("write an event", status)
        return Resource(href=href, etag=answer.get("etag"))

    async def delete_event(self, href: str, *, etag: str | None) -> bool:
        """Delete an event.

        Args:
            href: The path of the event.
            etag: The version that may be deleted. If None, any version is deleted.

        Returns:
            False if the event was kept because it has another version than ``etag``. True if the
            event is gone.

        Raises:
            CalendarServerError: The server cannot be used now.
        """
        headers = {} if etag is None else {"if-match": etag}
        status, _, _ = await self._call("DELETE", self._at(href), headers=headers)
        if status == STALE:
            return False
        if status not in {OK, NO_CONTENT, NOT_FOUND, GONE}:
            raise _refused("delete an event", status)
        return True

    def href_of(self, name: str) -> str:
        """Return the path for a new event with the file name ``name``."""
        return f"{self._url.raw_path}{name}"

    def _at(self, href: str) -> URL:
        """Return the full URL of a path or URL that the server sent.

        Raises:
            CalendarServerError: The URL is on another host.
        """
        url = self._url.join(URL(href, encoded=True))
        if url.origin() != self._url.origin():
            raise CalendarServerError(
                "The calendar server reported an event with an address on another host. This "
                "service sends no request to that host. Check the address of the calendar."
            )
        return url

    async def _sync(self, token: str | None) -> Changes | None:
        """Request the changes that are later than a sync token (RFC 6578), page by page.

        Returns:
            The changes; if ``token`` is None, they contain every event. None in these cases:

            - The server does not know the token, or does not support such a request.
            - The list ends before it is complete.
            - ``token`` is None, and the list has too many pages.
        """
        found = Changes(token=token, is_whole=token is None)
        for _ in range(MOST_PAGES):
            report = _SYNC.format(token=escape(found.token or ""))
            status, _, body = await self._call(
                "REPORT", self._url, body=report, headers={"depth": "0"}
            )
            if status != MULTI_STATUS:
                if status in {OK, 400, 403, 405, 409, 410, 412, 415, 422, 501, 507}:
                    return None
                raise _refused("list the events", status)
            root = _parse(body)
            is_cut = self._collect(root, found)
            found.token = root.findtext(f"{_DAV}sync-token") or None
            if not is_cut:
                return found
            if found.token is None:
                return None
        return None if found.is_whole else found

    async def _list_all(self) -> Changes:
        status, _, body = await self._call(
            "PROPFIND", self._url, body=_LIST, headers={"depth": "1"}
        )
        if status != MULTI_STATUS:
            raise _refused("list the events", status)
        found = Changes(is_whole=True)
        self._collect(_parse(body), found)
        return found

    def _collect(self, root: ET.Element, found: Changes) -> bool:
        """Add the events that a response of the server lists to ``found``.

        Args:
            root: The root element of the response.
            found: The changes that were found so far.

        Returns:
            True if the server says that the list is incomplete.

        Raises:
            CalendarTooLargeError: The calendar has too many events.
        """
        is_cut = False
        for one in root.iter(f"{_DAV}response"):
            href, status = _text(one, "href"), one.findtext(f"{_DAV}status") or ""
            if URL(href, encoded=True).raw_path.rstrip("/") == self._url.raw_path.rstrip("/"):
                # This entry of the response is the calendar itself, not an event. The status 507
                # means that the server has shortened the list.
                is_cut = is_cut or " 507" in status
                continue
            if " 404" in status:
                found.deleted.add(href)
                found.changed.pop(href, None)
            else:
                found.changed[href] = _etag(one)
                found.deleted.discard(href)
        if len(found.changed) > MOST_EVENTS:
            raise CalendarTooLargeError(
                f"The calendar has more than {MOST_EVENTS} events. Use a separate calendar for "
                "appointments."
            )
        return is_cut

    async def _call(
        self,
        method: str,
        url: URL,
        *,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._session is None:
            raise RuntimeError("The client is not open; use `async with`.")
        given = {"content-type": "application/xml; charset=utf-8", **(headers or {})}
        data = body.encode() if isinstance(body, str) else body
        try:
            self._policy.check_url(url)
            async with self._session.request(
                method, url, data=data, headers=given, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers, await self._read(answer)
        except AddressRefusedError as error:
            raise CalendarServerError(error.detail) from error
        except TimeoutError as error:
            raise CalendarServerError(
                f"The calendar server did not answer within {REQUEST_SECONDS:g} seconds. The "
                "synchronisation is tried again later."
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CalendarServerError(
                f"The calendar server cannot be reached ({type(error).__name__}). Check the "
                "address of the calendar. The synchronisation is tried again later."
            ) from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        found = bytearray()
        async for chunk in answer.content.iter_any():
            found.extend(chunk)
            self._left -= len(chunk)
            if self._left < 0:
                answer.close()
                raise CalendarTooLargeError(
                    f"The calendar has more than {MOST_BYTES // 1_000_000} MB. Use a separate "
                    "calendar for appointments."
                )
        return bytes(found)


def _parse(body: bytes) -> ET.Element:
    """Parse the XML of a response of the server.

    Raises:
        CalendarServerError: The response is not XML, or has a document type (DTD), which could
            define entities.
    """
    if b"<!DOCTYPE" not in body and b"<!ENTITY" not in body:
        try:
            return ET.fromstring(body)  # noqa: S314 - without entities, and of limited size
        except ET.ParseError:
            pass
    raise CalendarServerError(
        "The calendar server did not answer as a CalDAV server does. Check that the address is "
        "that of a CalDAV calendar."
    )


def _text(node: ET.Element, name: str) -> str:
    return (node.findtext(f"{_DAV}{name}") or "").strip()


def _etag(node: ET.Element) -> str | None:
    return node.findtext(f".//{_DAV}getetag") or None


def _refused(what: str, status: int) -> CalendarServerError:
    if status in {401, 403}:
        return CalendarServerError(
            f"The calendar server refused to {what} (status {status}). Check the user name "
            "and the password, and whether this user may write to the calendar. Then create the "
            "calendar account again."
        )
    if 300 <= status < 400:  # noqa: PLR2004 - the redirects of HTTP
        return CalendarServerError(
            f"The calendar server answered with a redirect (status {status}). Create the account "
            "again with the final address of the calendar."
        )
    return CalendarServerError(
        f"The calendar server refused to {what} (status {status}). Check the address of the "
        "calendar. The synchronisation is tried again later."
    )
