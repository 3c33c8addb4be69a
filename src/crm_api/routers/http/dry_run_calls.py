"""Name the call of a route, for dry runs and their tokens."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from crm_api.domain.kit.dry_runs import Call
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, State


@dataclass(frozen=True)
class CallMaker:
    """The method and the path of a request."""

    name: str
    secret: bytes

    def by(self, caller: Caller) -> Call:
        """Return the call with its caller."""
        return Call(name=self.name, caller_id=caller.id, secret=self.secret, now=clock.wall_now())


async def call_maker(request: Request, state: State) -> CallMaker:
    """Return a maker for this request; the route adds the caller."""
    return CallMaker(f"{request.method} {request.url.path}", state.secret)


ThisCall = Annotated[CallMaker, Depends(call_maker)]
