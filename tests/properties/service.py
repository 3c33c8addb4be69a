"""The service under test: its real parts and a real PostgreSQL; the test moves the clock."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import SECRET
from tests.database_time import date_receipt
from tests.fakes import RecordingQueue
from tests.properties.facts import MovedClock

from crm_api.domain.all_tables import metadata
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.schemas import ImportOptions
from crm_api.domain.imports.contacts.source import examine_file, sha256_of
from crm_api.domain.inbound.webhook_events import envelope
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork, create_engine, session_factory
from crm_api.platform.ids import new_id
from crm_api.platform.settings import Settings
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.workers.deps import Deps

FAST = 1e7
"""Calls per second. This rate is so high that the limiter causes almost no wait."""
OWN_NUMBER = "+16175550100"
PROVIDER_LINE = "PNproperty"
ACTOR = "property test"
APPEND_ONLY = ("audit_log", "consent_entry")


async def _at_once(_: float) -> None:
    """Return immediately; used in place of the wait between two tries of a read."""


class Service:
    """The service's web process and its worker, which all examples share."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        self.settings = settings
        self.engine = engine
        self.queue = RecordingQueue()
        self.rules = load_rules(settings.rules_name)
        self.times = SendTimes.from_settings(settings)
        self.secret = settings.require_secret_key()
        self.intake = EventIntake(settings.require_database_url(), queue=self.queue)
        self._workers = 0
        self._start_worker()
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        sessions = session_factory(engine)
        self.new_uow: Callable[[], UnitOfWork] = lambda: UnitOfWork(sessions, self.queue)

    @classmethod
    async def start(cls, database_url: str, *, data_dir: Path) -> "Service":
        """Create the service with the real provider's times and the rules of the United States."""
        settings = Settings.from_env(
            {
                "CRM_DATABASE_URL": database_url,
                "CRM_DATA_DIR": str(data_dir),
                "CRM_SECRET_KEY": SECRET,
                "CRM_OPENPHONE_API_KEY": "a key",
                "CRM_OPENPHONE_WEBHOOK_SECRETS": "c2FuZGJveC1rZXktdGhhdC1wcm92ZXM=",
                "CRM_BUSINESS_NAME": "Granite Foundations",
                "CRM_BUSINESS_CONTACT": OWN_NUMBER,
            }
        )
        engine = create_engine(database_url, pool_size=8, application="crm-api properties")
        service = cls(settings, engine)
        await service.intake.start()
        return service

    async def close(self) -> None:
        """Close the database connections."""
        await self.intake.close()
        await self._worker_engine.dispose()
        await self.engine.dispose()

    def _start_worker(self) -> None:
        self._workers += 1
        self._worker_name = f"crm-api properties worker {self._workers}"
        url = self.settings.require_database_url()
        self._worker_engine = create_engine(url, pool_size=8, application=self._worker_name)
        self._worker_sessions = session_factory(self._worker_engine)

    async def replace_worker(self) -> None:
        """End the worker's connections, as its death would do, and start another worker."""
        name, engine = self._worker_name, self._worker_engine
        self._start_worker()
        await self.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = :name",
            name=name,
        )
        await engine.dispose()

    def _worker_uow(self) -> UnitOfWork:
        return UnitOfWork(self._worker_sessions, self.queue)

    def worker(self, provider: httpx.AsyncBaseTransport) -> Deps:
        """Return the dependencies of a worker process that sends through this provider."""
        client = OpenPhoneClient(
            base_url="https://provider.test", api_key="a key", transport=provider, sleep=_at_once
        )
        return Deps(
            settings=self.settings,
            new_uow=self._worker_uow,
            queue=self.queue,
            provider=client,
            limiter=Limiter(rate_per_second=FAST),
            times=self.times,
            rules=self.rules,
            secret=self.secret,
        )

    async def deliver(self, event: dict[str, Any], *, clock: MovedClock) -> None:
        """Store a webhook event, as the receiver does after it has verified the signature."""
        received = envelope.read_event(orjson.dumps(event), scheme="2026-03-30", delivery_id=None)
        async with asyncio.timeout(10):
            await self.intake.store(received)
            await date_receipt(self.new_uow, received, at=clock())

    async def import_file(self, content: str, *, on_duplicate: str, now: datetime) -> None:
        """Accept an uploaded file, as the route for imports does."""
        import_id = new_id()
        path = contact_imports.upload_path(self.settings.data_dir, import_id)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        async with self.new_uow() as uow:
            await contact_imports.create_import(
                uow,
                import_id=import_id,
                file_name="people.csv",
                byte_size=len(content),
                rows_sha256=sha256_of(path),
                detected=examine_file(path, None),
                options=ImportOptions.model_validate({"on_duplicate": on_duplicate}),
                now=now,
            )

    async def rows(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Return the rows of a statement, as they are committed."""
        async with self._reader.connect() as connection:
            return (await connection.execute(text(statement), values)).all()

    async def locks(self) -> list[str]:
        """Return the other connections, each with the connections that block it."""
        found = await self.rows(
            "SELECT pid, state, pg_blocking_pids(pid) AS waits_for, left(query, 200) AS query "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [str(row) for row in found]

    async def calling(self) -> set[tuple[str, str]]:
        """Return number and body of each message whose call to the provider is in progress."""
        found = await self.rows("SELECT phone, body FROM send_attempt WHERE status = 'calling'")
        return {(row.phone, row.body) for row in found}

    async def empty(self) -> None:
        """Delete all rows that the previous example left."""
        self.queue.jobs.clear()
        # For few rows, DELETE is faster than TRUNCATE. Tables that triggers fill are emptied last.
        counted = {
            *("campaign_tally", "send_tally", "carrier_tally", "insight_tally", "event"),
            *("insight_person_change", "insight_person_move", "insight_answer_change"),
            "insight_reply_change",
            "insight_outcome_change",
        }
        tables = [table.name for table in reversed(metadata.sorted_tables)]
        tables.sort(key=counted.__contains__)
        async with self.engine.begin() as connection:
            await connection.execute(text(f"TRUNCATE {', '.join(APPEND_ONLY)} CASCADE"))
            for table in tables:
                if table not in APPEND_ONLY:
                    await connection.execute(text(f'DELETE FROM "{table}"'))
