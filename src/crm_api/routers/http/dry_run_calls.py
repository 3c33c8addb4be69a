"""Describe the current API request, to create or check the token of a dry run.

A dry run changes nothing, and shows what the real request would change. Its response has a token,
which the caller may send with the real request. The token is valid only for the same method, path
and caller.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from crm_api.domain.kit.dry_runs import Call
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, State


@dataclass(frozen=True)
class CallMaker:
    """Creates a ``Call`` object that describes the current API request.

    Attributes:
        name: Method and path of the request.
        secret: The secret of the service (class ``Secret``). One of its keys encrypts the token of
            a dry run.
    """

    name: str
    secret: bytes

    def by(self, caller: Caller) -> Call:
        """Return a ``Call`` that describes the current API request and its caller.

        Args:
            caller: Who sent the request.
        """
        return Call(name=self.name, caller_id=caller.id, secret=self.secret, now=clock.wall_now())


async def call_maker(request: Request, state: State) -> CallMaker:
    """Return a ``CallMaker``, which a route needs to support dry runs (requests without effect).

    The route calls ``CallMaker.by`` with the authenticated caller. The token of a dry run is valid
    only for a request with the same method, path and caller.
    """
    return CallMaker(f"{request.method} {request.url.path}", state.secret)


ThisCall = Annotated[CallMaker, Depends(call_maker)]
