"""Who and what caused a piece of work: the request, its ids for jobs, the network of its client."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from crm_api.platform import tracing
from crm_api.platform.jobs import JobName


@dataclass(kw_only=True)
class RequestOrigin:
    """A request that changes something; its fields are filled as they become known.

    Attributes:
        request_id: The id in the response.
        address: The client's address.
        operation: Its operationId.
        route: Method and path, with the names of the ids instead of the ids.
        ids: The ids of its path by their names; no free text.
        actor: The name of the API key, or the user's e-mail address.
        actor_id: Id of the API key or the user.
    """

    request_id: str
    address: str
    operation: str = ""
    route: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    actor: str = ""
    actor_id: str | None = None


Cause = Mapping[str, str]
"""Ids only. A job finds its work in the rows, and it may have no cause at all."""
_CARRIED = ("request_id",)
_STEP = "traceparent"


def current_cause() -> dict[str, str]:
    """Return the ids of the current work."""
    bound = structlog.contextvars.get_contextvars()
    ids = {name: bound[name] for name in _CARRIED if name in bound}
    step = tracing.traceparent()
    return ids if step is None else {**ids, _STEP: step}


def cause_of_nudge(job: JobName) -> dict[str, str]:
    """Return the ids that a nudge for this job carries.

    A nudge that a run sends for itself carries none: a queue that wakes itself for days would keep
    the id of its first request.
    """
    running = structlog.contextvars.get_contextvars().get("job")
    return {} if running == job.value else current_cause()


@contextmanager
def resume_cause(cause: Cause | None) -> Iterator[None]:
    """Bind these ids to the log lines, the trace and the nudges of the block."""
    cause = cause or {}
    known = {name: cause[name] for name in _CARRIED if name in cause}
    with structlog.contextvars.bound_contextvars(**known), tracing.within(cause.get(_STEP)):
        yield


_IPV6_PREFIX = 64
"""Bits of an IPv6 address that name one customer of an internet provider (RFC 6177)."""


def network_of(address: str) -> str:
    """Return the key that limits count by: an IPv4 address, or the /64 network of an IPv6 address.

    One household or machine has a whole /64, so a limit for each IPv6 address would limit nothing.
    A text that is not an address is returned unchanged.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))
