"""Who is in an audience and what becomes of each: asked before a start, written down after it.

Two readings of one rule. What is asked before a start (preview, forecast, whether there is anyone)
reads the audience whole, and the planner may join as it likes. What is written down after it is
read by pages of contact ids, and every look-up is a probe of an index for one person: the
hundredth page costs what the first did, however large the tables beside it are.
"""

from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import TextClause, text

from crm_api.domain.campaigns.template import ATTRIBUTES, CONTACT_FIELDS
from crm_api.domain.sends.contacted_statements import TEXTED_BEFORE

_KEPT = 32
"""Statements of as many audiences with segments are kept built; all others share one each."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The conditions of segments on ``contact c``, as SQL; most audiences have none.

    Attributes:
        named: Of the segment that the audience names; empty when it names somebody else.
        left_out: That somebody is in none of the segments that are left out; empty without any.
    """

    named: str = ""
    left_out: str = ""


# Whom the audience names: one branch a source, of which a campaign has one. Who came to the list
# after `as_of`, the instant of the start, is not meant. The people of a segment are named by its
# condition; a page goes through everybody and asks it of each.
_WHOLE = """
    named AS (
        SELECT l.contact_id FROM contact_list_member l
        WHERE l.list_id = CAST(:list_id AS uuid) AND l.added_at <= CAST(:as_of AS timestamptz)
        UNION ALL
        SELECT unnest(CAST(:contact_ids AS uuid[]))
        UNION ALL
        SELECT d.merged_into FROM contact d WHERE d.id = ANY(CAST(:contact_ids AS uuid[]))
    )
"""
_PAGE = """
    named AS MATERIALIZED (
        (SELECT l.contact_id FROM contact_list_member l
         WHERE l.list_id = CAST(:list_id AS uuid) AND l.added_at <= CAST(:as_of AS timestamptz)
           AND l.contact_id > CAST(:after AS uuid)
         ORDER BY l.contact_id LIMIT :limit)
        UNION ALL
        (SELECT x.id FROM (
             SELECT unnest(CAST(:contact_ids AS uuid[]))
             UNION
             SELECT d.merged_into FROM contact d WHERE d.id = ANY(CAST(:contact_ids AS uuid[]))
         ) AS x (id)
         WHERE x.id > CAST(:after AS uuid)
         ORDER BY x.id LIMIT :limit)
    )
"""

# The page is read once more: joined to `named`, all contacts would be read for each page.
_NEXT_PEOPLE = """(
    SELECT {columns} FROM contact a
    WHERE a.deleted_at IS NULL AND a.id > CAST(:after AS uuid)
    ORDER BY a.id LIMIT :limit)"""
_PAGE_OF_ALL = f"named AS MATERIALIZED {_NEXT_PEOPLE.format(columns='a.id AS contact_id')}"
_IS_NAMED = "c.id IN (SELECT n.contact_id FROM named n)"

# Who of them is meant, and how each stands. Deleted contacts are nobody, nor is who was added after
# the start; a number that may not be texted stays, with its reason, so that "why did they not get
# it" has an answer. A recipient of an excluded campaign is known by person and by number: either
# may have changed since. Somebody who was merged is meant under the old id and the old number too.
# `{each}`: a sub-select with an OFFSET stays one probe a person, which the planner would else join,
# reading all of the excluded for each page.
_STANDING = """
    audience AS (
        SELECT c.id AS contact_id, c.phone, c.zone_key
        FROM {people} c
        WHERE c.deleted_at IS NULL AND c.created_at <= CAST(:as_of AS timestamptz)
          AND {is_named} {left_out}
          AND NOT EXISTS (
              SELECT 1 FROM contact_list_member l
              WHERE l.list_id = ANY(CAST(:exclude_list_ids AS uuid[])) AND l.contact_id = c.id
              {each})
          AND NOT EXISTS (
              SELECT 1 FROM unnest(CAST(:exclude_contact_ids AS uuid[])) AS x (id)
              WHERE x.id = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM contact d
              WHERE d.id = ANY(CAST(:exclude_contact_ids AS uuid[])) AND d.merged_into = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM contact d JOIN campaign_membership p ON p.phone = d.phone
              WHERE d.merged_into = c.id
                AND p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled')
              {each})
          AND NOT EXISTS (
              SELECT 1 FROM campaign_membership p
              WHERE p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled') AND p.contact_id = c.id
              {each})
          AND NOT EXISTS (
              SELECT 1 FROM campaign_membership p
              WHERE p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled') AND p.phone = c.phone
              {each})
    ), flags AS (
        SELECT f.phone,
               bool_or(f.flag_type = 'opted_out') AS opted_out,
               bool_or(f.flag_type = 'do_not_contact') AS do_not_contact,
               bool_or(f.flag_type = 'opt_out_hold') AS on_hold,
               bool_or(f.flag_type = 'recently_texted') AS recently_texted
        FROM contact_flag f
        WHERE f.flag_type IN ('opted_out', 'do_not_contact', 'opt_out_hold', 'recently_texted')
          AND (f.expires_at IS NULL OR f.expires_at > CAST(:as_of AS timestamptz))
          {of_those}
        GROUP BY f.phone
    ), standing AS (
        SELECT a.contact_id, a.phone, a.zone_key,
               CASE WHEN f.opted_out THEN 'opted_out'
                    WHEN f.do_not_contact THEN 'do_not_contact'
                    WHEN CAST(:skip_landlines AS boolean) AND EXISTS (
                        SELECT 1 FROM phone_lookup k
                        WHERE k.phone = a.phone AND k.line_type = 'landline' {each})
                    THEN 'landline'
                    WHEN f.on_hold THEN 'held'
                    WHEN CAST(:previously_contacted AS text) = 'send' THEN 'pending'
                    WHEN f.recently_texted OR {texted_before}
                    THEN CASE CAST(:previously_contacted AS text)
                         WHEN 'skip' THEN 'previously_contacted' ELSE 'review' END
                    ELSE 'pending' END AS verdict
        FROM audience a LEFT JOIN flags f ON f.phone = a.phone
    )
"""


_OF_THE_PAGE = "AND f.phone = ANY(ARRAY(SELECT a.phone FROM audience a))"


def _standing(
    rules: Rules, *, is_named: str, people: str = "contact", each: str = "", of_those: str = ""
) -> str:
    before = TEXTED_BEFORE.format(phone="a.phone", contact="a.contact_id", each=each)
    left_out = f"AND {rules.left_out}" if rules.left_out else ""
    return _STANDING.format(
        each=each,
        people=people,
        of_those=of_those,
        texted_before=before,
        is_named=is_named,
        left_out=left_out,
    )


def _audience(rules: Rules) -> str:
    if rules.named:
        return _standing(rules, is_named=rules.named)
    return f"{_WHOLE}, {_standing(rules, is_named=_IS_NAMED)}"


def _chunk(rules: Rules) -> str:
    page, is_named, people = _PAGE, _IS_NAMED, "contact"
    if rules.named:
        page, is_named = _PAGE_OF_ALL, rules.named
        people = _NEXT_PEOPLE.format(columns="a.*")
    standing = _standing(
        rules, is_named=is_named, people=people, each="OFFSET 0", of_those=_OF_THE_PAGE
    )
    return f"{page}, {standing}"


# The share decides by a hash of person and campaign: the same person gets the same variant
# however often this runs, and another one in the next campaign. `thresholds` are the summed
# weights without the last, so that the bucket is the variant's position.
_VARIANT = """
    width_bucket(
        (hashtextextended(s.contact_id::text || CAST(:campaign_id AS uuid)::text, 0)
            & 9223372036854775807) % 100,
        CAST(:thresholds AS bigint[]))
"""

# Until the end of the transaction. After five runs on a connection PostgreSQL would take a plan for
# any audience: one that counts on small lists, and takes 12 s instead of 0.6 for 100,000 people.
PLAN_FOR_VALUES = text("SET LOCAL plan_cache_mode = force_custom_plan")


@lru_cache(maxsize=_KEPT)
def anyone_to_text(rules: Rules) -> TextClause:
    """Look for the place of one person who may be texted, outside of those that are ``shut``."""
    return text(f"""
        WITH {_audience(rules)}
        SELECT s.zone_key FROM standing s
        WHERE s.verdict IN ('pending', 'review') AND s.zone_key <> ALL(CAST(:shut AS text[]))
        LIMIT 1
    """)


@lru_cache(maxsize=_KEPT)
def write_chunk(rules: Rules) -> TextClause:
    """Write a page down.

    It is counted before anybody is left out of it, so that one of which nobody is meant is not
    taken for the last.
    """
    return text(f"""
        WITH {_chunk(rules)}, inserted AS (
            INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key,
                variant, status, skip_reason, due_at, created_at, updated_at)
            SELECT uuid_v7(), :campaign_id, 0, s.contact_id, s.phone, s.zone_key,
                   {_VARIANT},
                   CASE WHEN s.verdict IN ('pending', 'review', 'held') THEN s.verdict
                        ELSE 'skipped' END,
                   CASE WHEN s.verdict NOT IN ('pending', 'review', 'held') THEN s.verdict END,
                   :now, :now, :now
            FROM standing s
            ON CONFLICT DO NOTHING
            RETURNING zone_key
        )
        SELECT count(*) AS people,
               coalesce(array_agg(DISTINCT zone_key), CAST('{{}}' AS text[])) AS zone_keys,
               (SELECT count(*) FROM named) AS named,
               (SELECT n.contact_id FROM named n ORDER BY n.contact_id DESC LIMIT 1) AS up_to
        FROM inserted
    """)


@lru_cache(maxsize=_KEPT)
def count_audience(rules: Rules) -> TextClause:
    """Count by what would become of each."""
    return text(f"""
        WITH {_audience(rules)}
        SELECT s.verdict, count(*) AS people FROM standing s GROUP BY s.verdict
    """)


@lru_cache(maxsize=_KEPT)
def count_audience_places(rules: Rules) -> TextClause:
    """Count by what would become of each, and by place."""
    return text(f"""
        WITH {_audience(rules)}
        SELECT s.verdict, s.zone_key, count(*) AS people
        FROM standing s GROUP BY s.verdict, s.zone_key
    """)


# Of a row of `read_audience`: first who it is, then what a text may name, as the claim reads it.
LEADING = ("contact_id", "verdict", "variant")
NAMED = tuple(sorted({*CONTACT_FIELDS, ATTRIBUTES}))


@lru_cache(maxsize=_KEPT)
def read_audience(rules: Rules) -> TextClause:
    """Read people; ``chosen`` asks for these only."""
    return text(f"""
        WITH {_audience(rules)}
        SELECT s.contact_id, s.verdict, {_VARIANT} AS variant,
               {", ".join(f"c.{name}" for name in NAMED)}
        FROM standing s JOIN contact c ON c.id = s.contact_id
        WHERE CAST(:chosen AS uuid[]) IS NULL OR s.contact_id = ANY(CAST(:chosen AS uuid[]))
        ORDER BY s.contact_id
        LIMIT :limit
    """)
