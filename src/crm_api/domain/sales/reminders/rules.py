"""Create, list, change and delete reminder rules, and read the reminders of an appointment."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.campaigns.templates.template_text import find_template_faults
from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.messaging.conversations.errors import UnknownLineError
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.sales.reminders.models import AppointmentReminder, ReminderRule
from crm_api.domain.sales.reminders.schemas import ReminderRuleCreate, ReminderRuleUpdate
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id


class ReminderRuleNotFoundError(NotFoundError):
    """No reminder rule has this id."""

    code = "reminder_rule_not_found"
    title = "Reminder rule not found"
    detail = "There is no reminder rule with this id. GET /v1/reminder-rules lists the rules."


class InvalidReminderError(InvalidError):
    """The message of a reminder rule has faults; ``errors`` lists them."""

    code = "invalid_reminder"
    title = "Reminder not accepted"
    pointer = "/body"
    example = Example(
        [
            FieldProblem(
                pointer="/body",
                code="unknown_variable",
                detail="line 1, column 4: the variable appointment.day does not exist.",
            )
        ]
    )

    def __init__(self, faults: list[FieldProblem]) -> None:
        super().__init__(
            f"The message has {len(faults)} fault(s). Correct all of them as `errors` describes.",
            errors=faults,
        )


VARIABLES = {"appointment": frozenset({"date", "time", "kind", "location", "assignee"})}
"""The variables of a reminder message, in addition to the variables of campaigns."""
MOST_SHOWN = 50


async def create_rule(
    uow: UnitOfWork, body: ReminderRuleCreate, *, author: str, now: datetime
) -> ReminderRule:
    """Create a reminder rule. Only reminders that become due from now on are sent.

    Raises:
        InvalidReminderError: The message has faults.
        UnknownLineError: No phone line has this id.
    """
    _check_body(body.body)
    await _check_line(uow, body.line_id)
    values = {
        **body.model_dump(),
        "id": new_id(),
        "author": author,
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(ReminderRule).values(values).returning(ReminderRule)
    return (await uow.session.scalars(statement)).one()


async def read_rule(uow: UnitOfWork, *, rule_id: UUID) -> ReminderRule:
    """Return the reminder rule with this id.

    Raises:
        ReminderRuleNotFoundError: The rule does not exist.
    """
    return await get_or_raise(uow.session, ReminderRule, rule_id, ReminderRuleNotFoundError)


async def list_rules(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[ReminderRule]:
    """Return a page of reminder rules, the newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    rows, cursors = select(ReminderRule), Cursors("reminder_rules")
    return await read_newest(
        uow.session,
        rows,
        ReminderRule.created_at,
        ReminderRule.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def update_rule(
    uow: UnitOfWork, changes: ReminderRuleUpdate, *, rule_id: UUID, now: datetime
) -> ReminderRule:
    """Change a reminder rule.

    Raises:
        InvalidReminderError: The message has faults.
        ReminderRuleNotFoundError: The rule does not exist.
        UnknownLineError: No phone line has this id.
    """
    values = changes.model_dump(exclude_unset=True)
    if "body" in values:
        _check_body(values["body"])
    if "line_id" in values:
        await _check_line(uow, values["line_id"])
    if values:
        await uow.session.execute(
            update(ReminderRule)
            .where(ReminderRule.id == rule_id)
            .values({**values, "updated_at": now})
        )
    return await read_rule(uow, rule_id=rule_id)


async def delete_rule(uow: UnitOfWork, *, rule_id: UUID) -> None:
    """Delete a reminder rule. Messages that are already in the queue will still be sent.

    Raises:
        ReminderRuleNotFoundError: The rule does not exist.
    """
    statement = delete(ReminderRule).where(ReminderRule.id == rule_id).returning(ReminderRule.id)
    if await uow.session.scalar(statement) is None:
        raise ReminderRuleNotFoundError


async def list_reminders(uow: UnitOfWork, *, appointment_id: UUID) -> list[AppointmentReminder]:
    """Return the reminders of an appointment, the newest first."""
    statement = (
        select(AppointmentReminder)
        .where(AppointmentReminder.appointment_id == appointment_id)
        .order_by(AppointmentReminder.starts_at.desc(), AppointmentReminder.id.desc())
        .limit(MOST_SHOWN)
    )
    return list(await uow.session.scalars(statement))


def _check_body(body: str) -> None:
    faults = find_template_faults(body, pointer="/body", more=VARIABLES)
    if faults:
        raise InvalidReminderError(faults)


async def _check_line(uow: UnitOfWork, line_id: UUID) -> None:
    if await uow.session.get(Line, line_id) is None:
        raise UnknownLineError
