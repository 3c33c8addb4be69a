"""Helpers for webhook endpoints: events, and a dispatcher with a clock that the test moves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.addresses import ANY_PORT, AddressPolicy
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_deliveries import service as deliveries
from crm_api.domain.outbound.webhook_deliveries.dispatch import DispatchTerms, WebhookDispatcher
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.domain.outbound.webhook_endpoints.models import WebhookEndpoint
from crm_api.domain.outbound.webhook_endpoints.schemas import WebhookEndpointCreate
from crm_api.domain.outbound.webhook_endpoints.service import Maker
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

NewUow = Callable[[], UnitOfWork]
KEY = b"a test's secret key of 32 characters"
SANDBOX = AddressPolicy(ports=ANY_PORT, loopback_ports=ANY_PORT, needs_tls=True)


class DeliveryHarness:
    """Webhook endpoints and the dispatcher of their deliveries, at a time that the test sets."""

    def __init__(self, new_uow: NewUow) -> None:
        self.new_uow = new_uow
        self.now = clock.now()
        self.timeout_seconds = 5.0

    async def add_endpoint(
        self,
        url: str = "https://hooks.example.com/",
        *,
        types: tuple[str, ...] = (),
        scopes: tuple[Scope, ...] = (Scope.ADMIN,),
    ) -> tuple[UUID, str]:
        """Create an endpoint; return its id and its secret."""
        body = WebhookEndpointCreate.model_validate({"url": url, "event_types": list(types)})
        maker = Maker(name="key", scopes=[scope.value for scope in scopes])
        async with self.new_uow() as uow:
            made, secret = await endpoints.create_endpoint(
                uow, body, maker=maker, policy=SANDBOX, key=KEY, now=self.now
            )
        return made.id, secret

    async def read(self, endpoint_id: UUID) -> WebhookEndpoint:
        async with self.new_uow() as uow:
            return await endpoints.get_endpoint(uow, endpoint_id)

    async def emit(
        self,
        event_type: EventType = EventType.OPT_OUT,
        *,
        times: int = 1,
        campaign_id: UUID | None = None,
        **data: Any,
    ) -> UUID:
        """Record events in one transaction; return the subject id of the last event."""
        async with self.new_uow() as uow:
            for _ in range(times):
                subject_id = new_id()
                await event_recording.record_event(
                    uow,
                    type=event_type,
                    subject_id=subject_id,
                    campaign_id=campaign_id,
                    data=data,
                )
        return subject_id

    async def send_tests(self, endpoint_id: UUID, *, times: int = 1) -> list[UUID]:
        """Request test deliveries; return their ids."""
        made = []
        for _ in range(times):
            async with self.new_uow() as uow:
                one = await deliveries.send_test_event(uow, endpoint_id=endpoint_id, now=self.now)
            made.append(one.id)
        return made

    async def fan_out_log(self, *, limit: int = fan_out.PAGE) -> int:
        """Fan out the whole event log to the endpoints; return how many deliveries were added."""
        async with self.new_uow() as uow:
            await fan_out.adopt_cursor(uow)
        made = 0
        while True:
            async with self.new_uow() as uow:
                page = await fan_out.fan_out_page(uow, limit=limit, now=self.now)
            made += page.deliveries
            if page.is_last:
                return made

    async def deliver(self, *, after: timedelta = timedelta(0), for_seconds: float = 30.0) -> None:
        """Let time pass, then fan out and send until nothing is due."""
        self.now += after
        async with self.new_uow() as uow:
            await fan_out.adopt_cursor(uow)
        async with WebhookSender(SANDBOX, timeout_seconds=self.timeout_seconds) as sender:
            await self.dispatcher(sender).run(for_seconds=for_seconds, stays=False)

    def dispatcher(self, sender: WebhookSender) -> WebhookDispatcher:
        terms = DispatchTerms(
            key=KEY,
            disable_after=timedelta(days=5),
            timeout=timedelta(seconds=self.timeout_seconds),
        )
        return WebhookDispatcher(
            new_uow=self.new_uow,
            sender=sender,
            terms=terms,
            now=self._clock,
            jitter=lambda: 0.0,
        )

    def _clock(self) -> datetime:
        return self.now

    async def rows(self, query: str = "", **values: Any) -> list[Any]:
        """Return all deliveries in order of their ids, or the rows of ``query``."""
        statement = query or "SELECT * FROM webhook_delivery ORDER BY id"
        async with self.new_uow() as uow:
            return list((await uow.session.execute(text(statement), values)).all())
