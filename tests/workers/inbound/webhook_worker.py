"""A worker process that delivers webhooks, and kills itself at a named step."""

import asyncio
import os
import signal
import sys
from datetime import timedelta

from tests.domain.outbound.webhook_deliveries.support import KEY, SANDBOX

from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_deliveries.dispatch import DispatchTerms, WebhookDispatcher
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.jobs import Job


class _NoQueue:
    async def push(self, job: Job) -> None:
        """Do nothing."""

    async def ping(self) -> bool:
        return True


async def deliver(database_url: str, step: str, times: int) -> None:
    """Deliver events to endpoints; kill this process when the step is reached ``times`` times."""
    reached = 0

    async def kill_process(name: str) -> None:
        nonlocal reached
        reached += name == step
        if reached == times:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.set_hook(kill_process)
    terms = DispatchTerms(key=KEY, disable_after=timedelta(days=5), timeout=timedelta(seconds=5))
    async with (
        open_engine(database_url) as engine,
        WebhookSender(SANDBOX, timeout_seconds=5.0) as sender,
    ):
        sessions = session_factory(engine)

        def new_uow() -> UnitOfWork:
            return UnitOfWork(sessions, _NoQueue())

        async with new_uow() as uow:
            await fan_out.adopt_cursor(uow)
        dispatcher = WebhookDispatcher(new_uow=new_uow, sender=sender, terms=terms, now=clock.now)
        await dispatcher.run(for_seconds=30.0, stays=False)


if __name__ == "__main__":
    asyncio.run(deliver(sys.argv[1], sys.argv[2], int(sys.argv[3])))
