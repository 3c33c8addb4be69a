"""The type of a hot query (a query that must use an index), and the ids that the queries use."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.fakes import RecordingQueue
from tests.migrations.filling import NOON, made_id, phone_of
from tests.migrations.support import Call, Plan

from crm_api.platform.database import UnitOfWork

PHONE = phone_of(7)
CONTACT = made_id("contact", 7)
PLACE = (NOON, made_id("any", 1))
"""Cursor (time and id) after which a second page is read."""
LARGE = {
    "activity",
    "activity_key",
    "audit_log",
    "campaign_membership",
    "consent_entry",
    "consent_link",
    "consent_wording",
    "contact",
    "contact_import_chunk",
    "contact_import_error",
    "contact_list_member",
    "conversation",
    "idempotency_key",
    "event",
    "media",
    "media_fetch",
    "phone_lookup",
    "property",
    "property_contact",
    "reply_example",
    "send_attempt",
    "webhook_delivery",
    "webhook_event",
    "webhook_event_key",
}
"""Large tables. No hot query may read all rows of such a table."""


class Hot(NamedTuple):
    """A query of the code, with the indexes that it must use.

    Attributes:
        indexes: The query must use each of them; ``a|b`` allows one of two equally good indexes.
        is_generic: The generic plan, which knows no values, must use the same indexes.
        whole: Large tables of which the query may read all rows.
    """

    name: str
    indexes: set[str]
    call: Call
    is_generic: bool = False
    whole: frozenset[str] = frozenset()

    def missing(self, plan: Plan) -> set[str]:
        return {wanted for wanted in self.indexes if not set(wanted.split("|")) & plan.indexes}

    def read_whole(self, plan: Plan) -> set[str]:
        return plan.scanned & LARGE - self.whole


def hot_read(statement: str, key: bytes) -> Call:
    """Return a call that runs a statement of ``HotReads`` as the connection pool runs it."""

    async def call(session: AsyncSession) -> object:
        return await (await session.connection()).exec_driver_sql(statement, ([key],))

    return call


def sql(statement: TextClause, **values: Any) -> Call:
    """Return a call that runs a statement of the code without a change."""

    async def run(session: AsyncSession) -> None:
        await session.execute(statement, values)

    return run


def use_case(call: Callable[[UnitOfWork], Awaitable[object]]) -> Call:
    """Return a call that runs a use case of the code in the transaction of the session."""

    async def run(session: AsyncSession) -> None:
        uow = UnitOfWork(async_sessionmaker(), RecordingQueue())
        uow._session = session
        await call(uow)

    return run
