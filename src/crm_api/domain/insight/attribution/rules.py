"""Add, list and find versions of the attribution rules."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.insight.attribution.credits import RuleSet
from crm_api.domain.insight.attribution.models import (
    AttributionModel,
    AttributionRule,
    TouchClass,
)
from crm_api.domain.kit.errors import InvalidError, NotFoundError, TransientError
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName


class RulesNotFoundError(NotFoundError):
    """No version of the attribution rules has this number."""

    code = "attribution_rules_not_found"
    title = "Attribution rules not found"
    detail = "There is no such version of the rules. GET /v1/attribution-rules lists all versions."


class NoWindowError(InvalidError):
    """The new rules would credit no outcome, because all their windows are 0 hours.

    A window is the longest time from a reply, a call or a delivery to a credited outcome.
    """

    code = "no_window"
    title = "No window"
    pointer = "/windows"
    detail = (
        "All windows are 0 hours, so no outcome would be credited. Set at least one window to "
        "1 hour or more."
    )


class CreditsNotComputedError(TransientError):
    """Many outcomes have no credits yet, so the client must repeat the request later.

    A credit is the share of an outcome, such as a paid invoice, that belongs to one message. A job
    is computing the missing credits.
    """

    code = "credits_not_computed"
    title = "Credits not computed yet"
    detail = (
        "Many outcomes were recorded in a short time, and a job is computing their credits. "
        "Try again in a minute."
    )


FIRST_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class AddedRules:
    """A version of the rules, with the time at which it was added and who added it."""

    rules: RuleSet
    created_by: str
    created_at: datetime


FIRST_RULES = AddedRules(
    rules=RuleSet(
        version=FIRST_VERSION,
        model=AttributionModel.LAST,
        windows={TouchClass.REPLIED: 2160, TouchClass.CALLED: 2160, TouchClass.DELIVERED: 0},
    ),
    created_by="crm-api",
    created_at=datetime(2026, 11, 29, tzinfo=UTC),
)
"""Version 1 of the rules: the last reply or call in the 90 days before an outcome gets the whole
credit. A message without a reply or call gets no credit. Otherwise, it would get credit for sales
that would also have happened without the message."""


async def add_rules(
    uow: UnitOfWork,
    *,
    model: AttributionModel,
    windows: dict[TouchClass, int],
    created_by: str,
    now: datetime,
) -> AddedRules:
    """Add a version of the rules, and make it the current version.

    After the commit, a job computes the credits under this version.

    Raises:
        NoWindowError: All windows are 0 hours, so the rules would credit nothing.
    """
    check_windows(windows)
    values = {
        "model": model,
        "windows": {name.value: hours for name, hours in windows.items()},
        "created_by": created_by,
        "created_at": now,
    }
    statement = insert(AttributionRule).values(values).returning(AttributionRule)
    row = (await uow.session.scalars(statement)).one()
    uow.after_commit(Job(name=JobName.COMPUTE_CREDITS))
    return _known(row)


def check_windows(windows: dict[TouchClass, int]) -> None:
    """Check that rules with these windows can credit outcomes.

    A window is the longest time from a reply, a call or a delivery to a credited outcome.

    Raises:
        NoWindowError: All windows are 0 hours, so the rules would credit nothing.
    """
    if not any(windows.values()):
        raise NoWindowError


async def find_rules(uow: UnitOfWork, *, version: int | None) -> RuleSet:
    """Return a version of the rules; the current version if ``version`` is None.

    Raises:
        RulesNotFoundError: No version of the rules has the number ``version``.
    """
    if version == FIRST_VERSION:
        return FIRST_RULES.rules
    statement = select(AttributionRule).order_by(AttributionRule.version.desc()).limit(1)
    if version is not None:
        statement = statement.where(AttributionRule.version == version)
    row = await uow.session.scalar(statement)
    if row is not None:
        return _known(row).rules
    if version is not None:
        raise RulesNotFoundError
    return FIRST_RULES.rules


async def list_rules(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[AddedRules]:
    """Return a page of the versions of the rules, the newest version first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    statement = select(AttributionRule).order_by(AttributionRule.version.desc())
    rows = [_known(row) for row in await uow.session.scalars(statement)]
    return Cursors("attribution rules").part(
        [*rows, FIRST_RULES],
        cursor=cursor,
        limit=limit,
        name=lambda one: str(one.rules.version),
    )


def _known(row: AttributionRule) -> AddedRules:
    return AddedRules(
        rules=RuleSet(
            version=row.version,
            model=AttributionModel(row.model),
            windows={one: int(row.windows[one]) for one in TouchClass},
        ),
        created_by=row.created_by,
        created_at=row.created_at,
    )
