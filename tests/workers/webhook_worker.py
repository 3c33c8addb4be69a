"""A worker of its own process that is killed at a step of a name."""

import asyncio
import os
import signal
import sys
from datetime import timedelta

from tests.domain.webhook_deliveries.support import KEY, SANDBOX

from crm_api import clock, failpoints
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.webhook_deliveries import fan_out
from crm_api.domain.webhook_deliveries.dispatch import Dispatcher, Terms
from crm_api.domain.webhook_deliveries.sender import Sender
from crm_api.jobs import Job


class _NoQueue:
    async def push(self, job: Job) -> None:
        """Forget it."""

    async def ping(self) -> bool:
        return True


async def deliver(database_url: str, step: str, times: int) -> None:
    """Hand the log out and deliver until the step has come so often."""
    reached = 0

    async def die(name: str) -> None:
        nonlocal reached
        reached += name == step
        if reached == times:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.set_hook(die)
    terms = Terms(key=KEY, disable_after=timedelta(days=5), timeout=timedelta(seconds=5))
    async with (
        open_engine(database_url) as engine,
        Sender(SANDBOX, timeout_seconds=5.0) as sender,
    ):
        sessions = session_factory(engine)

        def new_uow() -> UnitOfWork:
            return UnitOfWork(sessions, _NoQueue())

        async with new_uow() as uow:
            await fan_out.adopt(uow)
        dispatcher = Dispatcher(new_uow=new_uow, sender=sender, terms=terms, now=clock.now)
        await dispatcher.run(for_seconds=30.0, stays=False)


if __name__ == "__main__":
    asyncio.run(deliver(sys.argv[1], sys.argv[2], int(sys.argv[3])))
