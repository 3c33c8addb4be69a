"""Read and change the company's settings.

No process caches the settings. So a change applies to all processes as soon as it is committed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.messaging.company import queries
from crm_api.domain.messaging.company.errors import SettingLockedError
from crm_api.domain.messaging.company.queries import StoredSettings
from crm_api.domain.messaging.company.schemas import SettingsRead, SettingsUpdate
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

SUBJECT = "settings"
_SHOWN = frozenset({"business_name", "brand", "carrier_budgets"})
"""Fields whose values are written to the audit log. The other fields may contain the phone number
of a person, so the audit log records only that they changed."""


@dataclass(frozen=True, kw_only=True)
class Business:
    """The sender's name and contact in messages; None means the line's name or number."""

    name: str | None
    contact: str | None


async def read_settings(uow: UnitOfWork, *, configured: Business) -> SettingsRead:
    """Return the company's settings for the API.

    Args:
        configured: Values from the environment. They override stored values.
    """
    return _shown(await queries.read(uow.session), configured)


async def update_settings(
    uow: UnitOfWork, changes: SettingsUpdate, *, configured: Business, actor: str, now: datetime
) -> SettingsRead:
    """Change the company's settings and write an entry to the audit log.

    The job that processes the campaign queue is requested, because a higher carrier budget may
    allow more messages at once.

    Args:
        configured: Values from the environment. They cannot be changed.

    Raises:
        SettingLockedError: The environment sets one of the fields to another value.
    """
    known = await queries.lock(uow.session, now=now)
    before = {name: getattr(known, name) for name in SettingsUpdate.model_fields}
    values = changes.model_dump(mode="json", exclude_unset=True)
    if values.get("carrier_budgets", {}) is None:
        values["carrier_budgets"] = {}
    locked = _locked(configured)
    for name, value in locked.items():
        if values.get(name, value) != value:
            raise SettingLockedError(name, locked=list(locked))
        values.pop(name, None)
    changed = {name: value for name, value in values.items() if value != before[name]}
    if changed:
        await queries.update(uow.session, values=changed, now=now)
        await note_decision(
            uow,
            actor=actor,
            action="change_settings",
            subject=SUBJECT,
            detail=_audited(before, changed),
            now=now,
        )
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return _shown(await queries.read(uow.session), configured)


async def read_business(uow: UnitOfWork, *, configured: Business) -> Business:
    """Return the sender's name and contact for messages.

    A value from the environment (``configured``) overrides the stored setting.
    """
    if configured.name and configured.contact:
        return configured
    stored = await queries.read(uow.session)
    return Business(
        name=configured.name or stored.business_name,
        contact=configured.contact or stored.business_contact,
    )


async def read_test_numbers(uow: UnitOfWork) -> list[str]:
    """Return the phone numbers, besides our own lines, that may receive test messages."""
    return (await queries.read(uow.session)).test_numbers


def _locked(configured: Business) -> dict[str, str]:
    set_there = {"business_name": configured.name, "business_contact": configured.contact}
    return {name: value for name, value in set_there.items() if value}


def _shown(stored: StoredSettings, configured: Business) -> SettingsRead:
    locked = _locked(configured)
    shown = SettingsRead.of(stored, locked=list(locked))
    return shown.model_copy(update=locked)


def _audited(before: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"from": before[name], "to": value} if name in _SHOWN else "changed"
        for name, value in changed.items()
    }
