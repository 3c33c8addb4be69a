"""Compute the statistics of one step of a campaign, and of a template over all its campaigns.

The first step of a campaign is its first message. Each further step is a follow-up.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.campaign_detail import read_campaign
from crm_api.domain.campaigns.figures.ab_test import (
    REACHED,
    RecipientCount,
    compare_variants,
    read_interval,
)
from crm_api.domain.campaigns.figures.schemas import (
    CampaignStats,
    MessageOutcomes,
    StatusCounts,
    TemplateStats,
    TemplateVersionStats,
    VariantStats,
)
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.campaigns.forecast.service import estimate_finish
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.templates.service import read_template
from crm_api.domain.kit.intervals import format_rate
from crm_api.domain.messaging.sends import usage
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.platform.database import UnitOfWork, typed_rows

PARKED = "parked"
"""A status that exists only in these counts: recipients with a parked attempt (an unclear attempt
that a user must settle). The stored status of these recipients is ``unknown``. So they are also
included in the row of the status ``unknown``."""

# A trigger keeps the sums in `campaign_tally` exact. So this statement gives exact counts, and is
# fast for any number of recipients.
RECIPIENT_COUNTS = text("""
    SELECT t.status, t.variant, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied, CAST(sum(t.opted_out) AS bigint) AS opted_out
    FROM campaign_tally t
    WHERE t.campaign_id = :campaign_id AND t.step = :step
    GROUP BY t.status, t.variant
    UNION ALL
    SELECT 'parked', 0, count(DISTINCT m.id), 0, 0
    FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE a.line_id = :line_id AND a.campaign_id = :campaign_id AND a.is_uncertain
      AND a.status = 'parked' AND m.step = :step AND m.status = 'unknown'
""")


async def read_campaign_stats(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    step: int = 0,
    limits: SendLimits,
    now: datetime,
) -> CampaignStats:
    """Return the statistics of a campaign, in any status, for one step.

    Args:
        step: 0 for the first message, 1 for the first follow-up, and so on.
        limits: The limits of sending. An unclear attempt of yesterday also counts for today if its
            request to the provider was made in the last ``limits.times.grace`` before midnight.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    detail = await read_campaign(uow, campaign_id=campaign_id)
    campaign, variants, line = detail.campaign, detail.variants, detail.line
    rows = await _count_recipients(uow, campaign, step=step)
    first = await _count_recipients(uow, campaign, step=0) if step else rows
    sent_today, line_used = await usage.count_campaign_sent_today(
        uow.session, campaign_id=campaign_id, line_id=line.id, times=limits.times, now=now
    )
    by_status = _by_status(rows)
    replied = sum(row.replied for row in rows)
    return CampaignStats(
        recipients_total=sum(by_status.values()),
        by_status=StatusCounts(**by_status),
        parked=sum(row.people for row in rows if row.status == PARKED),
        replied=replied,
        opted_out=sum(row.opted_out for row in rows),
        response_rate=format_rate(replied, _reached(by_status)),
        variants=[_variant_stats(variant, rows) for variant in variants],
        ab_test=compare_variants(campaign, variants, first),
        sent_today=sent_today,
        remaining_today=max(0, campaign.daily_limit - sent_today),
        estimated_finish_at=await estimate_finish(
            uow,
            campaign,
            line,
            limits=limits,
            used=(sent_today, line_used),
            now=now,
        ),
    )


async def _count_recipients(
    uow: UnitOfWork, campaign: Campaign, *, step: int
) -> list[RecipientCount]:
    """Count the recipients by status and variant, and the recipients with a parked attempt.

    A parked attempt is an attempt for which a user must decide whether its message was sent.
    """
    values = {"campaign_id": campaign.id, "line_id": campaign.line_id, "step": step}
    return typed_rows(RecipientCount, await uow.session.execute(RECIPIENT_COUNTS, values))


def _by_status(rows: Iterable[RecipientCount]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        if row.status != PARKED:
            counts[row.status] += row.people
    return counts


def _reached(by_status: Counter[str]) -> int:
    return sum(by_status[status] for status in REACHED)


def _variant_stats(variant: CampaignVariant, rows: Iterable[RecipientCount]) -> VariantStats:
    own = [row for row in rows if row.variant == variant.position]
    return VariantStats(
        name=variant.name,
        **sum_outcomes(own).model_dump(),
        stopped_at=variant.stopped_at,
        stopped_reason=variant.stopped_reason,
    )


def sum_outcomes(rows: Sequence[RecipientCount]) -> MessageOutcomes:
    """Add up how many recipients got messages, replied and opted out, and compute the rates.

    The counts in ``rows`` may belong to several variants or campaigns.
    """
    by_status = _by_status(rows)
    sent = _reached(by_status)
    delivered = by_status[MembershipStatus.DELIVERED]
    failed = by_status[MembershipStatus.FAILED]
    replied = sum(row.replied for row in rows)
    opted_out = sum(row.opted_out for row in rows)
    return MessageOutcomes(
        recipients=sum(by_status.values()),
        sent=sent,
        delivered=delivered,
        failed=failed,
        replied=replied,
        opted_out=opted_out,
        response_rate=format_rate(replied, sent),
        response_interval=read_interval(replied, sent),
        opt_out_rate=format_rate(opted_out, sent),
        opt_out_interval=read_interval(opted_out, sent),
        delivery_rate=format_rate(delivered, sent + failed),
        delivery_interval=read_interval(delivered, sent + failed),
    )


@dataclass(frozen=True, slots=True)
class _UseCount:
    """How many recipients have the same template version, campaign, status and variant."""

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


# A template may be the body of a variant or of a follow-up. Variants belong to step 0. A follow-up
# belongs to step 1 or later, and is the same for all variants.
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
