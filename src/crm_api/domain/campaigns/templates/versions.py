"""Store and read the versions of templates: each body, who wrote it, and who approved it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from crm_api.domain.campaigns.templates.models import (
    MessageTemplate,
    TemplateStatus,
    TemplateVersion,
)
from crm_api.platform.database import UnitOfWork

SHOWN_VERSIONS = 100
"""The maximum number of versions that are read for each template. They are the newest versions."""


@dataclass(frozen=True, kw_only=True)
class Author:
    """The API key or user who writes, approves or rejects a body.

    Attributes:
        id: The id of the key or of the user.
        name: The name of the key, or the e-mail address of the user.
    """

    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class TemplateDetail:
    """A template and its newest versions, ordered by version number."""

    template: MessageTemplate
    versions: Sequence[TemplateVersion]

    @property
    def current(self) -> TemplateVersion | None:
        """The version with the present body of the template.

        The result is None if a process of an older release changed the body without storing a
        version.
        """
        newest = self.versions[-1] if self.versions else None
        return newest if newest is not None and newest.body == self.template.body else None


def versions_statement(template_ids: Sequence[UUID]) -> Select[TemplateVersion]:
    """Return the statement that reads the newest versions of templates.

    It reads at most ``SHOWN_VERSIONS`` versions of each template, ordered by version number.
    """
    newest = (
        select(TemplateVersion)
        .where(TemplateVersion.template_id == MessageTemplate.id)
        .order_by(TemplateVersion.version.desc())
        .limit(SHOWN_VERSIONS)
        .correlate(MessageTemplate)
        .subquery("newest")
        .lateral()
    )
    found = aliased(TemplateVersion, newest)
    return (
        select(found)
        .select_from(MessageTemplate)
        .join(newest, true())
        .where(MessageTemplate.id.in_(template_ids))
        .order_by(found.template_id, found.version)
    )


async def load_templates(
    uow: UnitOfWork, templates: Sequence[MessageTemplate]
) -> list[TemplateDetail]:
    """Return these templates with their newest versions; the order of the templates is kept."""
    versions: dict[UUID, list[TemplateVersion]] = {one.id: [] for one in templates}
    if versions:
        found = await uow.session.scalars(
            versions_statement(list(versions)), execution_options={"populate_existing": True}
        )
        for version in found:
            versions[version.template_id].append(version)
    return [TemplateDetail(template=one, versions=versions[one.id]) for one in templates]


async def load_template(uow: UnitOfWork, template: MessageTemplate) -> TemplateDetail:
    """Return a template with its versions."""
    return (await load_templates(uow, [template]))[0]


async def keep_version(
    uow: UnitOfWork, template: MessageTemplate, *, author: Author | None, now: datetime
) -> None:
    """Store the present body of a template as a new version.

    Nothing is stored if the newest version already has this body.

    The transaction must have locked the template, so that no other transaction uses the same
    version number. ``author`` is None if it is not known who wrote the body.
    """
    detail = await load_template(uow, template)
    if detail.current is not None:
        return
    statement = insert(TemplateVersion).values(
        template_id=template.id,
        version=detail.versions[-1].version + 1 if detail.versions else 1,
        body=template.body,
        status=TemplateStatus.DRAFT,
        author_id=None if author is None else author.id,
        author_name=None if author is None else author.name,
        created_at=now,
    )
    await uow.session.execute(statement)


@dataclass(frozen=True, kw_only=True)
class TemplateText:
    """A body of a template, and its version.

    ``version`` is None if a process of an older release wrote the body without storing a version.
    """

    body: str
    version: int | None


@dataclass(frozen=True, kw_only=True)
class TemplateReference:
    """A template whose body a campaign copies. ``version`` is None for the newest version."""

    template_id: UUID
    version: int | None


async def find_template_texts(
    uow: UnitOfWork, references: Iterable[TemplateReference]
) -> dict[TemplateReference, TemplateText]:
    """Return, for each reference, the body to which it refers and the version of this body.

    A reference names a template, and either the number of a version or the newest version. A
    reference is left out of the result if the template or the version does not exist.
    """
    wanted = set(references)
    if not wanted:
        return {}
    newest = aliased(TemplateVersion)
    last = (
        select(func.max(newest.version))
        .where(newest.template_id == MessageTemplate.id)
        .correlate(MessageTemplate)
        .scalar_subquery()
    )
    present = await uow.session.execute(
        select(MessageTemplate.id, MessageTemplate.body, TemplateVersion.version)
        .outerjoin(
            TemplateVersion,
            and_(
                TemplateVersion.template_id == MessageTemplate.id,
                TemplateVersion.version == last,
                TemplateVersion.body == MessageTemplate.body,
            ),
        )
        .where(MessageTemplate.id.in_({one.template_id for one in wanted}))
    )
    texts = {
        TemplateReference(template_id=row.id, version=None): TemplateText(
            body=row.body, version=row.version
        )
        for row in present
    }
    versions = [(one.template_id, one.version) for one in wanted if one.version is not None]
    if versions:
        rows = await uow.session.scalars(
            select(TemplateVersion).where(
                tuple_(TemplateVersion.template_id, TemplateVersion.version).in_(versions)
            )
        )
        for row in rows:
            reference = TemplateReference(template_id=row.template_id, version=row.version)
            texts[reference] = TemplateText(body=row.body, version=row.version)
    return {one: texts[one] for one in wanted if one in texts}
