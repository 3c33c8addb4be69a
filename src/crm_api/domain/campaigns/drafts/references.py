"""Check that everything that a draft refers to exists, and copy the bodies of templates to it.

A draft contains the ids of a line, and of lists, segments, campaigns or contacts.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from crm_api.domain.campaigns.audience.schemas import Audience, Exclusion
from crm_api.domain.campaigns.drafts import content
from crm_api.domain.campaigns.drafts.content import Columns
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate, Variant
from crm_api.domain.campaigns.templates.versions import TemplateReference, find_template_texts
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactList
from crm_api.domain.people.segments import compiler as segments
from crm_api.platform.database import UnitOfWork

_SHOWN_FAULTS = 20
"""The maximum number of unknown ids of one kind that an error lists."""


async def copy_template_bodies(uow: UnitOfWork, body: CampaignCreate | CampaignUpdate) -> None:
    """Copy the bodies of templates to the variants and follow-ups that name a template.

    If a variant or follow-up already has a body in the request, this body is kept. If it has no
    body, the body of the version ``template_version`` is copied. If ``template_version`` is None,
    the current body of the template is copied. Then ``template_version`` is set to the number of
    the template version that contains the body.

    In each of these cases, ``template_id`` and ``template_version`` are set to None instead:

    - The template or the version does not exist, and the request has a body.
    - The body in the request differs from the template's body.
    - The template's body has no version.

    Raises:
        InvalidCampaignError: A template or a template version does not exist, and the request has
            no body.
    """
    given = [
        (f"/{field}/{position}", one)
        for field in ("variants", "follow_ups")
        for position, one in enumerate(getattr(body, field) or [])
        if one.template_id is not None
    ]
    references = {
        pointer: TemplateReference(template_id=one.template_id, version=one.template_version)
        for pointer, one in given
    }
    texts = await find_template_texts(uow, references.values())
    content.refuse_faults(
        [
            _unknown_template(pointer, reference)
            for (pointer, one), reference in zip(given, references.values(), strict=True)
            if reference not in texts and not one.body
        ]
    )
    for pointer, one in given:
        text = texts.get(references[pointer])
        if text is None or text.version is None or (one.body and one.body != text.body):
            one.template_id = one.template_version = None
        else:
            one.template_version = text.version
        one.body = one.body or (text.body if text else "")


def _unknown_template(pointer: str, reference: TemplateReference) -> FieldProblem:
    if reference.version is None:
        return FieldProblem(
            pointer=f"{pointer}/template_id",
            code="unknown_template",
            detail="This template does not exist. GET /v1/templates lists all templates.",
        )
    return FieldProblem(
        pointer=f"{pointer}/template_version",
        code="unknown_version",
        detail="There is no template with this id and version. GET /v1/templates/{id} lists the "
        "versions.",
    )


async def check_content(
    uow: UnitOfWork,
    columns: Columns,
    variants: list[Variant],
    *,
    audience: Audience | None,
    found: Sequence[FieldProblem] = (),
) -> None:
    """Raise an error if the content of a draft has faults.

    Args:
        columns: The values that shall be stored.
        variants: The variants that shall be stored.
        audience: The new audience; None if the audience does not change.
        found: Faults that the caller has already found.

    Raises:
        InvalidCampaignError: There is at least one fault. The error lists all, including ``found``.
    """
    problems = [*content.find_faults(columns, variants), *found]
    if not await _known_ids(uow, Line.id, [columns["line_id"]]):
        detail = "This line does not exist. GET /v1/lines lists all lines."
        problems.append(FieldProblem(pointer="/line_id", code="unknown_line", detail=detail))
    if audience is not None:
        problems += await find_unknown_sources(uow, columns["audience"])
        problems += await _unknown_contacts(uow, audience)
    content.refuse_faults(problems)


async def find_unknown_sources(uow: UnitOfWork, audience: Columns) -> list[FieldProblem]:
    """Return a problem for each missing list, segment or campaign to which an audience refers.

    The existing segments are locked, so that they cannot change before the transaction ends.
    """
    excluded = audience.get("exclude", {})
    lists = {
        **_named("/audience/list_id", audience.get("list_id")),
        **_named("/audience/exclude/list_id", excluded.get("list_id")),
        **_numbered("/audience/exclude/list_ids", excluded.get("list_ids")),
    }
    campaigns = _numbered("/audience/exclude/campaign_ids", excluded.get("campaign_ids"))
    problems = await segments.faults_of(
        uow,
        {
            **_named("/audience/segment_id", audience.get("segment_id")),
            **_numbered("/audience/exclude/segment_ids", excluded.get("segment_ids")),
        },
    )
    if lists:
        known = await _known_ids(uow, ContactList.id, lists.values())
        problems += _unknown(lists, known, noun="list")
    if campaigns:
        known = await _known_ids(uow, Campaign.id, campaigns.values())
        problems += _unknown(campaigns, known, noun="campaign")
    return problems


async def _known_ids(
    uow: UnitOfWork, column: InstrumentedAttribute[UUID], ids: Iterable[UUID]
) -> set[UUID]:
    """Return which of these ids are in the column ``column``."""
    return set(await uow.session.scalars(select(column).where(column.in_(set(ids)))))


async def _unknown_contacts(uow: UnitOfWork, audience: Audience) -> list[FieldProblem]:
    excluded = audience.exclude or Exclusion()
    contacts = {
        **_numbered("/audience/contact_ids", audience.contact_ids),
        **_numbered("/audience/exclude/contact_ids", excluded.contact_ids),
    }
    if not contacts:
        return []
    known = await _find_known_contacts(uow.session, list({*contacts.values()}))
    return _unknown(contacts, known, noun="contact")


async def _find_known_contacts(session: AsyncSession, contact_ids: list[UUID]) -> set[UUID]:
    """Return which of these ids belong to a contact that is not deleted."""
    statement = select(Contact.id).where(
        Contact.id == any_(bindparam("ids", contact_ids, ARRAY(Uuid()))),
        Contact.deleted_at.is_(None),
    )
    return set((await session.scalars(statement)).all())


def _named(pointer: str, value: str | None) -> dict[str, UUID]:
    return {} if value is None else {pointer: UUID(value)}


def _numbered(pointer: str, ids: Sequence[UUID | str] | None) -> dict[str, UUID]:
    return {f"{pointer}/{position}": UUID(str(one)) for position, one in enumerate(ids or [])}


def _unknown(ids: Mapping[str, UUID], known: Container[UUID], *, noun: str) -> list[FieldProblem]:
    unknown = [pointer for pointer, one in ids.items() if one not in known]
    return [
        FieldProblem(
            pointer=pointer,
            code=f"unknown_{noun}",
            detail=f"This {noun} does not exist. Remove its id, or use another one.",
        )
        for pointer in unknown[:_SHOWN_FAULTS]
    ]
