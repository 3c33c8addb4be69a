"""Decide to which network addresses the service may connect, for URLs that others choose.

The service connects only to public addresses (against server-side request forgery), and to exactly
the address that it has checked. It checks every redirect. While the sandbox is used, the loopback
address is allowed too.
"""

import ipaddress
import socket
from collections.abc import Container
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from crm_api.platform.settings import Settings

Address = IPv4Address | IPv6Address
AddressInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]
"""One result of ``socket.getaddrinfo``: family, type, protocol, name, and (address, port)."""

ANY_PORT = range(1, 65_536)
PORTS_OF_FILES = frozenset({80, 443})
LONGEST_URL = 8_000
"""The largest number of characters in a URL.

Signed URLs have up to 2,000 characters. Servers refuse URLs that are much longer than this limit.
"""

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # Protocol assignments. For parts of it, `is_global` is True.
        "192.88.99.0/24",  # Relays of 6to4, a method to send IPv6 over IPv4.
        "2001::/23",  # Protocol assignments, including Teredo (IPv6 over IPv4).
        "2002::/16",  # Addresses of 6to4. Each of them contains an IPv4 address.
        "3fff::/20",  # Addresses for examples in documentation.
    )
)
"""Networks that are not public, although ``is_global`` of ``ipaddress`` may be True in them.

Source: IANA's special-purpose address registries, read 2026-11-25.
"""


def is_public(address: Address) -> bool:
    """Return whether an address is public: not private, local, multicast or reserved."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _GLOBAL_UNICAST or address.scope_id is not None:
            return False
    is_special = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not is_special


class AddressRefusedError(Exception):
    """The service may not connect to this URL or address.

    Attributes:
        code: ``bad_address``, ``forbidden_port``, ``forbidden_address`` or ``insecure``.
        detail: A sentence for people, without the address.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """The addresses and ports to which the service may connect.

    Attributes:
        ports: The allowed ports of public addresses.
        loopback_ports: The allowed ports of this machine; empty unless the sandbox (the simulated
            provider) is used.
        needs_tls: Whether URLs must begin with ``https://``, except on loopback addresses.
    """

    ports: Container[int] = PORTS_OF_FILES
    loopback_ports: Container[int] = ()
    needs_tls: bool = False

    @classmethod
    def for_files(cls, settings: Settings) -> "AddressPolicy":
        """Return the policy for file downloads: only ports 80 and 443 of public addresses.

        While the sandbox (the simulated provider) is used, its port on this machine is allowed too.
        """
        if not _is_sandboxed(settings):
            return cls()
        return cls(loopback_ports=frozenset({URL(settings.provider_url).port or 0}))

    @classmethod
    def for_webhooks(cls, settings: Settings) -> "AddressPolicy":
        """Return the policy for webhooks: every port of public addresses, but only with TLS.

        While the sandbox (the simulated provider) is used, every port of this machine is allowed
        too, with or without TLS.
        """
        loopback_ports = ANY_PORT if _is_sandboxed(settings) else ()
        return cls(ports=ANY_PORT, loopback_ports=loopback_ports, needs_tls=True)

    def allows(self, address: Address, port: int) -> bool:
        """Return whether the service may connect to this address and port."""
        if address.is_loopback:
            return port in self.loopback_ports
        return port in self.ports and is_public(address)

    def check_url(self, url: URL) -> None:
        """Check a URL without resolving its host name.

        The scheme and the port must be allowed. The URL must not contain a user name or password.
        If the host is an IP address, the service must be allowed to connect to this address.

        Raises:
            AddressRefusedError: The service may not connect to the URL.
        """
        if url.scheme not in {"http", "https"} or not url.host:
            raise AddressRefusedError("bad_address", "The URL must begin with http:// or https://.")
        if url.user is not None or url.password is not None:
            raise AddressRefusedError(
                "bad_address", "The URL must not contain a user name or password."
            )
        port = url.port or 0
        if port not in self.ports and port not in self.loopback_ports:
            raise AddressRefusedError(
                "forbidden_port", f"Port {port} is not allowed. Use port 80 or 443."
            )
        address = _literal(url.host)
        if address is not None:
            self.check(address, port)
        is_local = url.host == "localhost" or (address is not None and address.is_loopback)
        if self.needs_tls and url.scheme != "https" and not is_local:
            raise AddressRefusedError("insecure", "The URL must begin with https://.")

    def check(self, address: Address, port: int) -> None:
        """Check an address and a port. Raise an error if the service may not connect to them.

        Raises:
            AddressRefusedError: The address is not public, or the port is not allowed.
        """
        if not self.allows(address, port):
            raise AddressRefusedError(
                "forbidden_address",
                "The host's address is private, local or reserved; use a public address.",
            )

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Check an address again directly before the connection, and return a new socket for it.

        Raises:
            AddressRefusedError: The service is not allowed to connect to the address.
        """
        family, kind, protocol, _, (host, port, *_) = info
        self.check(ipaddress.ip_address(str(host)), int(str(port)))
        return socket.socket(family, kind, protocol)


class CheckedResolver(AbstractResolver):
    """Resolves host names. A name is refused if the policy forbids one of its addresses."""

    def __init__(self, inner: AbstractResolver, policy: AddressPolicy) -> None:
        self._inner = inner
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. The HTTP client uses this for each new connection.

        Raises:
            AddressRefusedError: The policy forbids one of the addresses.
            OSError: The host name cannot be resolved.
        """
        found = await self._inner.resolve(host, port, family)
        for one in found:
            self._policy.check(ipaddress.ip_address(one["host"]), port)
        return found

    async def close(self) -> None:
        """Close the wrapped resolver, which finds the addresses of host names."""
        await self._inner.close()


def open_connector(
    policy: AddressPolicy, *, resolver: AbstractResolver | None = None, keeps_open: bool = False
) -> aiohttp.TCPConnector:
    """Return a connector that opens connections only to allowed addresses.

    Args:
        policy: Decides about each new connection.
        resolver: Replaces the resolver of the system, for tests.
        keeps_open: Whether a connection is used again for later requests to the same host.
    """
    return aiohttp.TCPConnector(
        resolver=CheckedResolver(resolver or aiohttp.ThreadedResolver(), policy),
        use_dns_cache=False,
        force_close=not keeps_open,
        limit=0,
        family=socket.AF_UNSPEC,
        socket_factory=policy.open_socket,
    )


def parse_url(address: str) -> URL:
    """Parse a URL without normalising it, because a change could break a signature in it.

    Raises:
        AddressRefusedError: The text is not a URL, or it is too long.
    """
    if len(address) > LONGEST_URL or not address.isprintable():
        raise unreadable()
    is_plain = address.isascii() and " " not in address
    try:
        return URL(address, encoded=is_plain)
    except (ValueError, TypeError) as error:
        raise unreadable() from error


def unreadable() -> AddressRefusedError:
    """Return the error that is raised for a text that is not a valid URL."""
    return AddressRefusedError("bad_address", "This is not a valid URL.")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_sandboxed(settings: Settings) -> bool:
    return settings.uses_sandbox and settings.provider_on_loopback
