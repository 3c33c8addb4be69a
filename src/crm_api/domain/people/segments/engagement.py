"""Write the SQL of the engagement score and of reply classes, for rules of segments.

The score is from 0 to 100. It is computed at each use, because points decrease with time.
``domain/insight/engagement.py`` must compute the same points;
``tests/domain/insight/test_engagement_segments.py`` checks this.
"""

from crm_api.domain.consent.models import FlagType
from crm_api.domain.people.segments.condition_builder import ConditionBuilder

_HEARD = "activity a WHERE a.contact_id = c.id AND a.direction = 'incoming'"
_GRADES = ((80, "A"), (60, "B"), (40, "C"), (20, "D"))

# In this query, the person is the contact together with the duplicates that were merged into it.
# `OFFSET 0` makes PostgreSQL compute each subquery only once.
_SCORE = """(
    SELECT greatest(0, least(100,
        CASE WHEN h.last_at IS NULL THEN 0
             ELSE CAST(round(40 * power(CAST(0.5 AS double precision),
                 greatest(0, extract(epoch FROM {now} - h.last_at)) / 2592000.0)) AS integer) END
        + least(5 * h.replies, 20)
        + CASE WHEN o.is_booked THEN 15 ELSE 0 END + CASE WHEN o.has_bought THEN 25 ELSE 0 END
        - least(3 * i.ignored, 21)))
    FROM (
        SELECT array_agg(p.id) AS ids, array_agg(p.phone) AS phones
        FROM (SELECT c.id, c.phone UNION ALL
              SELECT d.id, d.phone FROM contact d WHERE d.merged_into = c.id) p OFFSET 0
    ) person
    CROSS JOIN LATERAL (
        SELECT max(a.occurred_at) AS last_at,
               count(*) FILTER (WHERE a.kind = 'message') AS replies
        FROM activity a WHERE a.contact_id = ANY(person.ids) AND a.direction = 'incoming' OFFSET 0
    ) h
    CROSS JOIN LATERAL (
        SELECT bool_or(u.kind IN ('appointment_booked', 'appointment_held', 'quote_sent',
                                  'quote_approved')) AS is_booked,
               bool_or(u.kind IN ('job_done', 'invoice_paid')) AS has_bought
        FROM outcome_subject s JOIN outcome u ON u.id = s.outcome_id
        WHERE s.contact_id = ANY(person.ids)
          AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = u.id) OFFSET 0
    ) o
    CROSS JOIN LATERAL (
        SELECT count(*) AS ignored FROM campaign_membership m
        WHERE m.phone = ANY(person.phones) AND m.status IN ('sent', 'delivered')
          AND m.sent_at > coalesce(h.last_at, '-infinity') OFFSET 0
    ) i
)"""
_REPLY = f"{_HEARD} AND a.kind = 'message'"
_LAST_CLASS = f"""(
    SELECT a.reply_class FROM {_REPLY} ORDER BY a.occurred_at DESC, a.id DESC LIMIT 1
)"""


def score_sql(builder: ConditionBuilder) -> str:
    """Return the SQL of the engagement score of ``contact c``, from 0 to 100.

    The score shows how much the contact reacts, for example by replies and appointments. It is 0 if
    the contact's number is opted out.
    """
    now = builder.bind(builder.now, "timestamptz")
    opted_out = builder.exists(
        f"contact_flag f WHERE f.phone = c.phone AND f.flag_type = '{FlagType.OPTED_OUT}'"
        f" AND (f.expires_at IS NULL OR f.expires_at > {now})"
    )
    is_known = " OR ".join(
        builder.exists(rows)
        for rows in (
            _HEARD,
            "outcome_subject s WHERE s.contact_id = c.id",
            "contact d WHERE d.merged_into = c.id AND d.merged_into IS NOT NULL",
        )
    )
    return (
        f"CASE WHEN NOT ({is_known}) THEN 0 WHEN {opted_out} THEN 0"
        f" ELSE {_SCORE.format(now=now)} END"
    )


def grade_sql(builder: ConditionBuilder) -> str:
    """Return the SQL of the engagement grade of ``contact c``: A (highest score), B, C, D or E."""
    score = score_sql(builder)
    edges = " ".join(f"WHEN x.score >= {least} THEN '{grade}'" for least, grade in _GRADES)
    return f"(SELECT CASE {edges} ELSE 'E' END FROM (SELECT {score} AS score OFFSET 0) x)"


def last_class_sql(builder: ConditionBuilder) -> str:
    """Return the SQL of the reply class of the last reply from ``contact c``.

    A reply class is the kind of a reply, such as ``question``. The SQL value is NULL if the contact
    has sent no reply, or if the last reply has no class.
    """
    return f"CASE WHEN {builder.exists(_REPLY)} THEN {_LAST_CLASS} END"


def has_class_sql(builder: ConditionBuilder, classes: str) -> str:
    """Return the SQL condition that ``contact c`` sent a reply with one of these reply classes.

    Args:
        builder: Collects the bind values.
        classes: The SQL of an array of reply classes. A reply class is the kind of a reply, such as
            ``question``.
    """
    return builder.exists(f"{_REPLY} AND a.reply_class = ANY({classes})")
