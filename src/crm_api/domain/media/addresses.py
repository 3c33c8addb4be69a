"""Which addresses a file may be fetched from.

An event's URL is somebody else's word. Whoever could make this service ask its own network would
read what only it can reach; so only public addresses are connected to, by the address that was
looked at, at every redirect anew. The sandbox on loopback is the one exception.
"""

import ipaddress
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from crm_api.domain.media.errors import FetchError
from crm_api.settings import Settings

Address = IPv4Address | IPv6Address
AddressInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]
"""What ``getaddrinfo`` gives: family, type, protocol, name, and an address with its port."""

PORTS = frozenset({80, 443})
LONGEST_URL = 8_000
"""Signed addresses have a thousand characters or two; servers refuse far longer ones."""

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; the standard library lets parts of it pass
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
"""Source: IANA's special-purpose address registries, read 2026-11-25."""


def is_public(address: Address) -> bool:
    """True for an address of the public internet, not private, local, multicast or reserved."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _GLOBAL_UNICAST or address.scope_id is not None:
            return False
    is_special = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not is_special


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """What may be connected to.

    Attributes:
        loopback_port: The sandbox's; None when it is not used, and no loopback is allowed.
    """

    loopback_port: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "AddressPolicy":
        """Allow the sandbox's own port when nothing is really sent."""
        if not (settings.uses_sandbox and settings.provider_on_loopback):
            return cls()
        return cls(loopback_port=URL(settings.provider_url).port)

    def allows(self, address: Address, port: int) -> bool:
        """Say whether this very address may be connected to."""
        if self.loopback_port is not None and address.is_loopback:
            return port == self.loopback_port
        return port in PORTS and is_public(address)

    def check_url(self, url: URL) -> None:
        """Look at what can be seen without asking for the host's address.

        Raises:
            FetchError: It is no address that may be fetched.
        """
        if url.scheme not in {"http", "https"} or not url.host:
            raise _refused("bad_address", "The address is neither http:// nor https://.")
        if url.user is not None or url.password is not None:
            raise _refused("bad_address", "The address holds a user or a password.")
        port = url.port or 0
        if port not in PORTS and port != self.loopback_port:
            raise _refused("forbidden_port", f"Port {port} is not asked; only 80 and 443 are.")
        try:
            address = ipaddress.ip_address(url.host)
        except ValueError:
            return
        self.check(address, port)

    def check(self, address: Address, port: int) -> None:
        """Refuse an address that may not be connected to.

        Raises:
            FetchError: It is not a public one.
        """
        if not self.allows(address, port):
            raise _refused(
                "forbidden_address",
                "The host's address is private, local or reserved; nothing is fetched from there.",
            )

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Make the socket for an address that is about to be connected to: the last look.

        Raises:
            FetchError: It may not be.
        """
        family, kind, protocol, _, (host, port, *_) = info
        self.check(ipaddress.ip_address(str(host)), int(str(port)))
        return socket.socket(family, kind, protocol)


class CheckedResolver(AbstractResolver):
    """Finds a host's addresses, and gives none of them when one may not be connected to."""

    def __init__(self, inner: AbstractResolver, policy: AddressPolicy) -> None:
        self._inner = inner
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Find the addresses, once for each request.

        Raises:
            FetchError: One of them is not public.
            OSError: The host is not known.
        """
        found = await self._inner.resolve(host, port, family)
        for one in found:
            self._policy.check(ipaddress.ip_address(one["host"]), port)
        return found

    async def close(self) -> None:
        """Close the resolver beneath."""
        await self._inner.close()


def _refused(code: str, detail: str) -> FetchError:
    return FetchError(code, detail, is_final=True)
