"""Data about the current request: its caller, its ids for logs and jobs, the client's network."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from crm_api.platform import tracing
from crm_api.platform.jobs import JobName


@dataclass(kw_only=True)
class RequestOrigin:
    """What the audit log stores about a request; the fields are filled while the request runs.

    Attributes:
        request_id: The id of the request, which the response contains too.
        address: IP address of the client.
        operation: The operationId of the route.
        route: Method and path template, such as ``POST /v1/contacts/{contact_id}/notes``.
        ids: The ids in the path, by the names of their path parameters. Values that are not ids are
            left out.
        actor: Name of the API key, or e-mail address of the user.
        actor_id: Id of the API key or user; None without a caller.
    """

    request_id: str
    address: str
    operation: str = ""
    route: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    actor: str = ""
    actor_id: str | None = None


Cause = Mapping[str, str]
"""The ids of the request and of the tracing span that have caused a run of a job. They are used
only in log lines and traces."""
_CARRIED = ("request_id",)
_STEP = "traceparent"


def current_cause() -> dict[str, str]:
    """Return the ids of the current request and of the current trace span.

    The ids are stored with each job that the request causes, so that the logs of the job show them.
    Without a current request and span, the result is empty.
    """
    bound = structlog.contextvars.get_contextvars()
    ids = {name: bound[name] for name in _CARRIED if name in bound}
    step = tracing.traceparent()
    return ids if step is None else {**ids, _STEP: step}


def cause_of_nudge(job: JobName) -> dict[str, str]:
    """Return the ids of the current API request and trace span, to store with a requested job.

    If a job requests its own next run, the result is empty. So a job that continues for days does
    not log the ids of its first request in every run.
    """
    running = structlog.contextvars.get_contextvars().get("job")
    return {} if running == job.value else current_cause()


@contextmanager
def resume_cause(cause: Cause | None) -> Iterator[None]:
    """Connect the work inside the ``with`` block with the request that caused the current job.

    Log lines, traces and requests for further jobs then contain the ids of that request.

    Args:
        cause: The ids, as ``current_cause`` returned them during that request.
    """
    cause = cause or {}
    known = {name: cause[name] for name in _CARRIED if name in cause}
    with structlog.contextvars.bound_contextvars(**known), tracing.within(cause.get(_STEP)):
        yield


_IPV6_PREFIX = 64
"""Number of leading bits of an IPv6 address that identify one customer of an internet provider (RFC
6177)."""


def network_of(address: str) -> str:
    """Return the network of a client. Rate limits count the requests of each network.

    For an IPv4 address, the network is the address itself. For an IPv6 address, it is the /64
    network, because a client can use every address of its /64 network. Text that is not an IP
    address is returned unchanged.
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
