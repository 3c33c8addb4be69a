"""At its end, the web process closes all parts that it opened, even if one cannot be closed."""

import pytest
import structlog

from crm_api.app import create_app
from crm_api.domain.identity.api_keys.key_usage import KeyUsage
from crm_api.platform.hot_reads import HotReads
from crm_api.platform.settings import Settings
from crm_api.routers.http.rate_limits import RequestRate
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.routers.inbound.receiver_watch import ReceiverWatch, RefusalAlerts
from crm_api.routers.monitoring.watchdog_task import WatchdogTask
from crm_api.routers.outbound.event_hub import EventHub
from crm_api.workers.queue import ArqJobQueue

PARTS = (
    EventHub,
    KeyUsage,
    HotReads,
    WatchdogTask,
    ReceiverWatch,
    EventIntake,
    RefusalAlerts,
    RequestRate,
    ArqJobQueue,
)


async def test_parts_are_closed_although_the_first_fails_to_close(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def failing_after(part: type) -> None:
        close = part.close  # type: ignore[attr-defined] # each part has it

        async def note(self: object) -> None:
            closed.append(part)
            await close(self)
            if part is EventHub:
                raise OSError("no file descriptor left")

        monkeypatch.setattr(part, "close", note)

    for part in PARTS:
        failing_after(part)
    app = create_app(settings)
    with structlog.testing.capture_logs() as lines:
        async with app.router.lifespan_context(app):
            provider = app.state.crm.provider

    assert set(closed) == set(PARTS)
    assert provider._http.is_closed
    assert "shutdown step failed" in [line["event"] for line in lines]
