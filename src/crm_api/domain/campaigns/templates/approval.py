"""Submit, approve and reject the newest version of a template."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from crm_api.domain.campaigns.errors import (
    OwnApprovalError,
    TemplateChangedError,
    TemplateNotFoundError,
    TemplateNotSubmittedError,
)
from crm_api.domain.campaigns.templates.models import (
    MessageTemplate,
    TemplateStatus,
    TemplateVersion,
)
from crm_api.domain.campaigns.templates.schemas import TemplateDecision, TemplateRejection
from crm_api.domain.campaigns.templates.versions import (
    Author,
    TemplateDetail,
    keep_version,
    load_template,
)
from crm_api.domain.kit.audit_log import note_decision
from crm_api.platform.database import UnitOfWork


async def submit_template(
    uow: UnitOfWork, body: TemplateDecision, *, template_id: UUID, by: Author, now: datetime
) -> TemplateDetail:
    """Submit the newest version of a template for approval.

    A draft or a rejected version becomes submitted. A version that is already submitted or approved
    does not change.

    Raises:
        TemplateNotFoundError: The template does not exist.
        TemplateChangedError: The request names a version that is not the newest one.
    """
    template, version = await _lock_newest(uow, template_id, wanted=body.version, now=now)
    if version.status in {TemplateStatus.DRAFT, TemplateStatus.REJECTED}:
        version.status = TemplateStatus.SUBMITTED
        version.submitted_at = now
        version.decided_at = version.decided_by = None
        version.note = body.note
        await _note(uow, version, action="submit_template", by=by, now=now)
    return await load_template(uow, template)


async def approve_template(
    uow: UnitOfWork, body: TemplateDecision, *, template_id: UUID, by: Author, now: datetime
) -> TemplateDetail:
    """Approve the newest version of a template; do nothing if it is already approved.

    Raises:
        TemplateNotFoundError: The template does not exist.
        TemplateChangedError: The request names a version that is not the newest one.
        OwnApprovalError: The caller wrote the version.
        TemplateNotSubmittedError: The version is not submitted.
    """
    template, version = await _lock_newest(uow, template_id, wanted=body.version, now=now)
    if version.author_id == by.id:
        raise OwnApprovalError("template")
    if version.status != TemplateStatus.APPROVED:
        await _decide(
            uow,
            version,
            TemplateStatus.APPROVED,
            action="approve_template",
            note=body.note,
            by=by,
            now=now,
        )
    return await load_template(uow, template)


async def reject_template(
    uow: UnitOfWork, body: TemplateRejection, *, template_id: UUID, by: Author, now: datetime
) -> TemplateDetail:
    """Reject the newest version of a template, with a note that says why.

    Raises:
        TemplateNotFoundError: The template does not exist.
        TemplateChangedError: The request names a version that is not the newest one.
        TemplateNotSubmittedError: The version is not submitted.
    """
    template, version = await _lock_newest(uow, template_id, wanted=body.version, now=now)
    await _decide(
        uow,
        version,
        TemplateStatus.REJECTED,
        action="reject_template",
        note=body.note,
        by=by,
        now=now,
    )
    return await load_template(uow, template)


async def _lock_newest(
    uow: UnitOfWork, template_id: UUID, *, wanted: int | None, now: datetime
) -> tuple[MessageTemplate, TemplateVersion]:
    """Return a template and its newest version, and lock the template until the transaction ends.

    If the present body of the template has no version yet, a version is stored first.

    Args:
        wanted: The expected number of the newest version; None for no check.

    Raises:
        TemplateNotFoundError: The template does not exist.
        TemplateChangedError: The number of the newest version is not ``wanted``.
    """
    statement = (
        select(MessageTemplate)
        .where(MessageTemplate.id == template_id)
        .with_for_update(key_share=True)
    )
    template = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if template is None:
        raise TemplateNotFoundError(template_id)
    await keep_version(uow, template, author=None, now=now)
    version = (await load_template(uow, template)).versions[-1]
    if wanted is not None and wanted != version.version:
        raise TemplateChangedError(wanted, newest=version.version)
    return template, version


async def _decide(
    uow: UnitOfWork,
    version: TemplateVersion,
    status: TemplateStatus,
    *,
    action: str,
    note: str | None,
    by: Author,
    now: datetime,
) -> None:
    if version.status != TemplateStatus.SUBMITTED:
        raise TemplateNotSubmittedError(version.status)
    version.status = status
    version.decided_at = now
    version.decided_by = by.name
    version.note = note
    await _note(uow, version, action=action, by=by, now=now)


async def _note(
    uow: UnitOfWork, version: TemplateVersion, *, action: str, by: Author, now: datetime
) -> None:
    await uow.session.flush()
    await note_decision(
        uow,
        actor=by.name,
        action=action,
        subject=str(version.template_id),
        detail={"version": version.version},
        now=now,
    )
