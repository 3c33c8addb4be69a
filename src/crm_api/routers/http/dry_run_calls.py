"""Identify the current API request by its method, its path and its caller.

The token of a dry run is valid only for the same operation and the same caller.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from crm_api.domain.kit.dry_runs import Call
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, State


@dataclass(frozen=True)
class CallMaker:
    """Creates the ``Call`` that identifies the current request.

    Attributes:
        name: Method and path of the request.
        secret: The root secret, with the secret keys that encrypt the token of a dry run.
    """

    name: str
    secret: bytes

    def by(self, caller: Caller) -> Call:
        """Return a ``Call`` that contains this request, this caller and the current time."""
        return Call(name=self.name, caller_id=caller.id, secret=self.secret, now=clock.wall_now())


async def call_maker(request: Request, state: State) -> CallMaker:
    """Return the ``CallMaker`` of this request; the route passes the caller to it."""
    return CallMaker(f"{request.method} {request.url.path}", state.secret)


ThisCall = Annotated[CallMaker, Depends(call_maker)]
