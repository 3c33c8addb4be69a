"""Routes of reminder rules, and of the reminders of an appointment."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.appointments import listing
from crm_api.domain.sales.reminders import rules
from crm_api.domain.sales.reminders.models import AppointmentReminder
from crm_api.domain.sales.reminders.schemas import (
    ReminderRead,
    ReminderRuleCreate,
    ReminderRuleRead,
    ReminderRuleUpdate,
    RemindersRead,
)
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["reminders"])
Reader = Annotated[Caller, require(Scope.SALES_READ)]
Sender = Annotated[Caller, require(Scope.MESSAGES_SEND)]


@router.post(
    "/reminder-rules",
    status_code=201,
    openapi_extra=fails_with("invalid_reminder", "unknown_line"),
)
async def create_reminder_rule(
    body: ReminderRuleCreate, uow: Uow, caller: Sender
) -> ReminderRuleRead:
    """Create a rule that sends a message before appointments."""
    async with uow:
        rule = await rules.create_rule(uow, body, author=caller.name, now=await uow.database_now())
        return ReminderRuleRead.model_validate(rule)


@router.get("/reminder-rules")
async def list_reminder_rules(
    uow: Uow, page: Paging, _caller: Reader
) -> PageRead[ReminderRuleRead]:
    """List reminder rules, the newest first.

    A reminder rule sends a message before appointments.
    """
    async with uow:
        found = await rules.list_rules(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, ReminderRuleRead.model_validate)


@router.get("/reminder-rules/{rule_id}")
async def get_reminder_rule(rule_id: UUID, uow: Uow, _caller: Reader) -> ReminderRuleRead:
    """Return one reminder rule."""
    async with uow:
        return ReminderRuleRead.model_validate(await rules.read_rule(uow, rule_id=rule_id))


@router.patch(
    "/reminder-rules/{rule_id}", openapi_extra=fails_with("invalid_reminder", "unknown_line")
)
async def update_reminder_rule(
    rule_id: UUID, body: ReminderRuleUpdate, uow: Uow, _caller: Sender
) -> ReminderRuleRead:
    """Change a reminder rule, or switch it off. Messages that are already queued are still sent."""
    async with uow:
        rule = await rules.update_rule(uow, body, rule_id=rule_id, now=await uow.database_now())
        return ReminderRuleRead.model_validate(rule)


@router.delete("/reminder-rules/{rule_id}", status_code=204)
async def delete_reminder_rule(rule_id: UUID, uow: Uow, _caller: Sender) -> None:
    """Delete a reminder rule. Messages that are already queued are still sent."""
    async with uow:
        await rules.delete_rule(uow, rule_id=rule_id)


@router.get("/appointments/{appointment_id}/reminders")
async def list_appointment_reminders(
    appointment_id: UUID, uow: Uow, _caller: Reader
) -> RemindersRead:
    """List the reminders of an appointment, each with its status.

    If a reminder waits or is not sent, its field `reason` says why.
    """
    async with uow:
        await listing.read_appointment(uow, appointment_id=appointment_id)
        found = await rules.list_reminders(uow, appointment_id=appointment_id)
    return RemindersRead(data=[_read(one) for one in found])


def _read(one: AppointmentReminder) -> ReminderRead:
    return ReminderRead(
        id=one.id,
        rule_id=one.rule_id,
        starts_at=one.starts_at,
        status=one.status,
        reason=one.reason,
        message_id=one.activity_id,
        updated_at=one.updated_at,
    )
