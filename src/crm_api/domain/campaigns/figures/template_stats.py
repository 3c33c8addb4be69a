"""Compute the statistics of a template over all campaigns that used it."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.figures.ab_test import RecipientCount
from crm_api.domain.campaigns.figures.campaign_stats import sum_outcomes
from crm_api.domain.campaigns.figures.schemas import TemplateStats, TemplateVersionStats
from crm_api.domain.campaigns.templates.service import read_template
from crm_api.platform.database import UnitOfWork, typed_rows


@dataclass(frozen=True, slots=True)
class _UseCount:
    """The counts of recipients with the same template version, campaign, status and variant."""

    version: int | None
    campaign_id: UUID
    status: str
    variant: int
    people: int
    replied: int
    opted_out: int

    @property
    def count(self) -> RecipientCount:
        return RecipientCount(
            status=self.status,
            variant=self.variant,
            people=self.people,
            replied=self.replied,
            opted_out=self.opted_out,
        )


# A template is the body of a variant (step 0) or of a follow-up (step 1 and later, all variants).
TEMPLATE_COUNTS = text("""
    WITH used AS (
        SELECT v.campaign_id, 0 AS step, v.position AS variant, v.template_version AS version
        FROM campaign_variant v WHERE v.template_id = CAST(:template_id AS uuid)
        UNION ALL
        SELECT c.id, f.place, NULL, CAST(f.value ->> 'template_version' AS integer)
        FROM campaign c
        CROSS JOIN LATERAL jsonb_array_elements(c.follow_ups) WITH ORDINALITY AS f (value, place)
        WHERE c.follow_ups @> jsonb_build_array(
                  jsonb_build_object('template_id', CAST(:key AS text)))
          AND f.value ->> 'template_id' = CAST(:key AS text)
    )
    SELECT u.version, u.campaign_id, t.status, t.variant,
           CAST(sum(t.people) AS bigint) AS people, CAST(sum(t.replied) AS bigint) AS replied,
           CAST(sum(t.opted_out) AS bigint) AS opted_out
    FROM used u
    JOIN campaign_tally t ON t.campaign_id = u.campaign_id AND t.step = u.step
        AND (u.variant IS NULL OR t.variant = u.variant)
    GROUP BY u.version, u.campaign_id, t.status, t.variant
""")


async def read_template_stats(uow: UnitOfWork, *, template_id: UUID) -> TemplateStats:
    """Return the statistics of a template: for all campaigns that used it, and for each version.

    Raises:
        TemplateNotFoundError: The template does not exist.
    """
    await read_template(uow, template_id=template_id)
    values = {"template_id": template_id, "key": str(template_id)}
    rows = typed_rows(_UseCount, await uow.session.execute(TEMPLATE_COUNTS, values))
    by_version: dict[int | None, list[_UseCount]] = {}
    for row in sorted(rows, key=lambda row: row.version or 0):
        by_version.setdefault(row.version, []).append(row)
    return TemplateStats(
        template_id=template_id,
        campaigns=len({row.campaign_id for row in rows}),
        **sum_outcomes([row.count for row in rows]).model_dump(),
        versions=[
            TemplateVersionStats(
                version=version,
                campaigns=len({row.campaign_id for row in own}),
                **sum_outcomes([row.count for row in own]).model_dump(),
            )
            for version, own in by_version.items()
        ],
    )
