"""SQL on the company's settings."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.company import THE_ROW, CompanySettings


@dataclass(frozen=True, kw_only=True)
class StoredSettings:
    """The company's settings as stored. The defaults apply while the table has no row."""

    business_name: str | None = None
    business_contact: str | None = None
    test_numbers: list[str] = field(default_factory=list)
    brand: dict[str, Any] | None = None
    carrier_budgets: dict[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None


_COLUMNS = (
    CompanySettings.business_name,
    CompanySettings.business_contact,
    CompanySettings.test_numbers,
    CompanySettings.brand,
    CompanySettings.carrier_budgets,
    CompanySettings.updated_at,
)


async def read(session: AsyncSession) -> StoredSettings:
    """Return the company's stored settings, or the defaults if none are stored."""
    row = (await session.execute(select(*_COLUMNS))).one_or_none()
    if row is None:
        return StoredSettings()
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    # The erasure of a person replaces the person's number with a value that is not a number.
    values["test_numbers"] = [one for one in row.test_numbers if one.startswith("+")]
    return StoredSettings(**values)


async def lock(session: AsyncSession, *, now: datetime) -> StoredSettings:
    """Lock the company's settings row until the transaction ends, and return the settings.

    A missing row is added first. Claims that count carrier budgets wait for this lock.
    """
    made = insert(CompanySettings).values(id=THE_ROW, updated_at=now).on_conflict_do_nothing()
    await session.execute(made)
    await session.execute(text("SELECT 1 FROM company_settings FOR NO KEY UPDATE"))
    return await read(session)


async def update(session: AsyncSession, *, values: dict[str, Any], now: datetime) -> None:
    """Write the columns in ``values`` to the settings row that ``lock`` has locked."""
    statement = insert(CompanySettings).values(id=THE_ROW, updated_at=now, **values)
    changed = {"updated_at": now, **values}
    await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))
