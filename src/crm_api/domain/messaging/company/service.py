"""Read and change the company's settings.

No process caches the settings. So a change applies to all processes as soon as it is committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import ConflictError, Example
from crm_api.domain.messaging.company.carriers import Budgets
from crm_api.domain.messaging.company.schemas import SettingsRead, SettingsUpdate
from crm_api.domain.messaging.models.lines import THE_ROW, CompanySettings
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName


class SettingLockedError(ConflictError):
    """The request would change a setting whose value comes from an environment variable.

    ``locked`` lists all fields whose values come from environment variables.
    """

    code = "setting_locked"
    title = "Setting is locked"
    example = Example("business_name", locked=["business_name"])

    def __init__(self, field: str, *, locked: Sequence[str]) -> None:
        super().__init__(
            f"{field} cannot be changed here, because the environment variable "
            f"CRM_{field.upper()} sets it. Change the variable and restart the service, or unset "
            "the variable, restart, and send this request again.",
            locked=list(locked),
        )


SUBJECT = "settings"
_SHOWN = frozenset(
    {
        "business_name",
        "brand",
        "carrier_budgets",
        "office_hours",
        "holidays",
        "require_approval",
    }
)
"""The fields whose values are written to the audit log. The other fields may contain the phone
number of a person. For the other fields, the audit log records only that they changed."""


@dataclass(frozen=True, kw_only=True)
class Business:
    """How messages identify the company that sends them.

    Attributes:
        name: The name of the company. If None, messages use the name of the phone line that sends
            them.
        contact: How people reach the company: a phone number or an address. If None, messages use
            the number of the phone line.
    """

    name: str | None
    contact: str | None


@dataclass(frozen=True, kw_only=True)
class StoredSettings:
    """The company's settings as stored. The defaults apply while the table has no row."""

    business_name: str | None = None
    business_contact: str | None = None
    test_numbers: list[str] = field(default_factory=list)
    brand: dict[str, Any] | None = None
    carrier_budgets: dict[str, Any] = field(default_factory=dict)
    office_hours: dict[str, Any] | None = None
    holidays: list[Any] = field(default_factory=list)
    away_reply: str | None = None
    require_approval: bool = False
    updated_at: datetime | None = None


_COLUMNS = tuple(getattr(CompanySettings, one.name) for one in fields(StoredSettings))


async def _read(session: AsyncSession) -> StoredSettings:
    """Return the company's stored settings, or the defaults if none are stored."""
    row = (await session.execute(select(*_COLUMNS))).one_or_none()
    if row is None:
        return StoredSettings()
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    # If a person is erased, the person's number in this list is replaced by a value that is not a
    # phone number. Such a value is left out.
    values["test_numbers"] = [one for one in row.test_numbers if one.startswith("+")]
    return StoredSettings(**values)


async def read_settings(uow: UnitOfWork, *, configured: Business) -> SettingsRead:
    """Return the company's settings for the API.

    Args:
        configured: Values from the environment. They override stored values.
    """
    return _shown(await _read(uow.session), configured)


async def update_settings(
    uow: UnitOfWork, changes: SettingsUpdate, *, configured: Business, actor: str, now: datetime
) -> SettingsRead:
    """Change the company's settings.

    A change is written to the audit log, and the job that processes the campaign queue is
    requested.

    Args:
        configured: Values from environment variables. A request cannot change them.

    Raises:
        SettingLockedError: The environment sets one of the fields to another value.
    """
    known = await _lock(uow.session, now=now)
    before = {name: getattr(known, name) for name in SettingsUpdate.model_fields}
    values = changes.model_dump(mode="json", exclude_unset=True)
    for name, empty in (("carrier_budgets", {}), ("holidays", []), ("require_approval", False)):
        if values.get(name, empty) is None:
            values[name] = empty
    locked = _locked(configured)
    for name, value in locked.items():
        if values.get(name, value) != value:
            raise SettingLockedError(name, locked=list(locked))
        values.pop(name, None)
    changed = {name: value for name, value in values.items() if value != before[name]}
    if changed:
        await uow.session.execute(update(CompanySettings).values(updated_at=now, **changed))
        await note_decision(
            uow,
            actor=actor,
            action="change_settings",
            subject=SUBJECT,
            detail=_audited(before, changed),
            now=now,
        )
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return _shown(await _read(uow.session), configured)


async def _lock(session: AsyncSession, *, now: datetime) -> StoredSettings:
    """Lock the company's settings row until the transaction ends, and return the settings.

    A missing row is added first. A worker takes this lock too, before it computes how many message
    segments may still be sent today to each carrier. So the worker waits until this transaction
    ends.
    """
    made = insert(CompanySettings).values(id=THE_ROW, updated_at=now).on_conflict_do_nothing()
    await session.execute(made)
    await session.execute(text("SELECT 1 FROM company_settings FOR NO KEY UPDATE"))
    return await _read(session)


async def read_business(uow: UnitOfWork, *, configured: Business) -> Business:
    """Return how messages name the company, and how people can reach it.

    A value from the environment (``configured``) overrides the stored setting.
    """
    if configured.name and configured.contact:
        return configured
    stored = await _read(uow.session)
    return Business(
        name=configured.name or stored.business_name,
        contact=configured.contact or stored.business_contact,
    )


async def read_test_numbers(uow: UnitOfWork) -> list[str]:
    """Return the phone numbers, besides our own lines, that may receive test messages."""
    return (await _read(uow.session)).test_numbers


async def is_approval_required(uow: UnitOfWork) -> bool:
    """Return whether a campaign may start only with the approval of another user."""
    return (await _read(uow.session)).require_approval


def _locked(configured: Business) -> dict[str, str]:
    """Return the values that the environment sets, by the name of the setting."""
    set_there = {"business_name": configured.name, "business_contact": configured.contact}
    return {name: value for name, value in set_there.items() if value}


def _shown(stored: StoredSettings, configured: Business) -> SettingsRead:
    locked = _locked(configured)
    available = Budgets.of(stored.carrier_budgets).daily
    budgets = {
        carrier: {**declared, "available_segments": available[carrier]}
        for carrier, declared in sorted(stored.carrier_budgets.items())
    }
    return SettingsRead.model_validate(
        {**vars(stored), **locked, "carrier_budgets": budgets, "locked": list(locked)}
    )


def _audited(before: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"from": before[name], "to": value} if name in _SHOWN else "changed"
        for name, value in changed.items()
    }
