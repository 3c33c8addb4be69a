"""Identify the current call of a route. A dry run binds its token to the call and its caller."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from crm_api.domain.kit.dry_runs import Call
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, State


@dataclass(frozen=True)
class CallMaker:
    """Creates the ``Call`` of the current request.

    Attributes:
        name: Method and path of the request.
        secret: The root secret, which encrypts the dry run's token.
    """

    name: str
    secret: bytes

    def by(self, caller: Caller) -> Call:
        """Return this request as a call by the caller, with the current time."""
        return Call(name=self.name, caller_id=caller.id, secret=self.secret, now=clock.wall_now())


async def call_maker(request: Request, state: State) -> CallMaker:
    """Return the ``CallMaker`` of this request; the route passes the caller to it."""
    return CallMaker(f"{request.method} {request.url.path}", state.secret)


ThisCall = Annotated[CallMaker, Depends(call_maker)]
