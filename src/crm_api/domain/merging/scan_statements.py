"""SQL that finds pairs of contacts that may be one person, set by set.

A pass looks at all contacts, and never at all pairs of them: only people with the same key are
compared, and of a key that very many have only the first few are. ``person`` and ``pair`` are
temporary tables of the pass.
"""

from sqlalchemy import TextClause, text

NUMBER_DIGITS = 10
"""Of a number without its country code."""
_MOST_OF_A_KEY = 20
"""People of one key who are compared with each other; more are an office or a placeholder."""
_SIMILAR = 0.5
"""Of two names, by trigrams: ``Jon Smith`` and ``John Smith`` 0.6, a couple of one name 0.4."""

PREPARE = (
    text("SET LOCAL work_mem = '64MB'"),
    text("""
        CREATE TEMPORARY TABLE person ON COMMIT DROP AS
        SELECT c.id, c.created_at, c.phone, n.name,
               lower(left(coalesce(c.last_name, ''), 2) || left(coalesce(c.first_name, ''), 1))
                   AS block,
               lower(c.email) AS email,
               CASE WHEN c.street IS NOT NULL
                    THEN hashtextextended(
                        substring(lower(c.street) FROM '^\\s*\\d+\\w*\\s+\\w{1,3}') || '|'
                        || coalesce(left(c.postal_code, 5), lower(c.city), ''), 0) END AS address
        FROM contact c
        CROSS JOIN LATERAL (
            SELECT nullif(lower(concat_ws(' ', c.first_name, c.last_name)), '') AS name
        ) n
        WHERE c.deleted_at IS NULL
    """),
    text("""
        CREATE TEMPORARY TABLE pair (
            kind text, first_id uuid, second_id uuid, points integer
        ) ON COMMIT DROP
    """),
    text("ANALYZE person"),
)

# The oldest with the address beside each of the others: so many pairs as there are people.
SAME_EMAIL = text(f"""
    INSERT INTO pair (kind, first_id, second_id, points)
    SELECT 'email', least(x.head, x.id), greatest(x.head, x.id),
           60 + round(35 * coalesce(similarity(x.name, x.head_name), 0.5))
    FROM (
        SELECT p.id, p.name, row_number() OVER w AS place, first_value(p.id) OVER w AS head,
               first_value(p.name) OVER w AS head_name
        FROM (SELECT email FROM person WHERE email IS NOT NULL GROUP BY email
              HAVING count(*) > 1) shared
        JOIN person p ON p.email = shared.email
        WINDOW w AS (PARTITION BY p.email ORDER BY p.created_at, p.id)
    ) x
    WHERE x.place BETWEEN 2 AND {_MOST_OF_A_KEY}
""")

_COMPARED = f"""
    WITH keyed AS (
        SELECT p.id, p.name, {{key}} AS key FROM person p WHERE {{has_key}}
    ), shared AS (
        SELECT key FROM keyed GROUP BY key HAVING count(*) > 1
    ), few AS (
        SELECT * FROM (
            SELECT k.id, k.name, k.key,
                   row_number() OVER (PARTITION BY k.key ORDER BY k.id) AS place
            FROM shared JOIN keyed k ON k.key = shared.key
        ) ranked WHERE place <= {_MOST_OF_A_KEY}
    )
    INSERT INTO pair (kind, first_id, second_id, points)
    SELECT '{{kind}}', a.id, b.id, {{base}} + round({{more}} * similarity(a.name, b.name))
    FROM few a JOIN few b ON b.key = a.key AND a.id < b.id
    WHERE similarity(a.name, b.name) >= {_SIMILAR}
"""
SIMILAR_ADDRESS = text(
    _COMPARED.format(
        key="p.address",
        has_key="p.address IS NOT NULL AND p.name IS NOT NULL",
        kind="address",
        base=40,
        more=45,
    )
)


def close_number(place: int) -> TextClause:
    """Find numbers that differ in this digit alone, of people with similar names."""
    masked = f"overlay(p.phone PLACING '_' FROM length(p.phone) - {place} FOR 1)"
    return text(
        _COMPARED.format(
            key=f"hashtextextended({masked} || p.block, 0)",
            has_key="p.name IS NOT NULL",
            kind="phone",
            base=30,
            more=45,
        )
    )


CLOSE_NUMBER = tuple(close_number(place) for place in range(NUMBER_DIGITS))

# Points of several reasons add up as chances do: 80 and 60 are 92.
STORE = (
    text("""
        CREATE TEMPORARY TABLE found ON COMMIT DROP AS
        SELECT first_id, second_id,
               CAST(max(points) FILTER (WHERE kind = 'email') AS smallint) AS email,
               CAST(max(points) FILTER (WHERE kind = 'address') AS smallint) AS address,
               CAST(max(points) FILTER (WHERE kind = 'phone') AS smallint) AS phone
        FROM pair GROUP BY first_id, second_id
    """),
    text("ANALYZE found"),
    text("""
        DELETE FROM merge_candidate c
        WHERE c.dismissed_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM found f
            WHERE f.first_id = c.first_id AND f.second_id = c.second_id)
    """),
    text("""
        INSERT INTO merge_candidate AS c
            (id, first_id, second_id, email, address, phone, found_at)
        SELECT uuid_v7(), first_id, second_id, email, address, phone, :now FROM found
        ON CONFLICT (first_id, second_id) DO UPDATE
        SET email = excluded.email, address = excluded.address, phone = excluded.phone
        WHERE (c.email, c.address, c.phone)
              IS DISTINCT FROM (excluded.email, excluded.address, excluded.phone)
    """),
)

DROP = text("DROP TABLE IF EXISTS person, pair, found")
