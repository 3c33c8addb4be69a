"""The breakdowns by which figures can be grouped, such as campaign or ZIP, and their SQL."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Dimension(StrEnum):
    """A breakdown: the feature by which the records of a figure are grouped.

    Attributes:
        CAMPAIGN: The campaign of the message.
        VARIANT: The variant of the campaign's first message.
        STEP: The step of the campaign: 0 is the first message.
        LIST: The list to which the campaign was sent; the key is null if there is no list.
        LINE: The phone line that sent the message.
        ZIP: The first five digits of the person's ZIP.
        CITY: The person's city.
        YEAR_BUILT_BAND: When the person's property was built, in periods of 20 years.
        VALUE_BAND: The estimated value of the person's property.
        OWNER_OCCUPIED: Whether the owner lives in the property: `yes` or `no`.
        HOUR: The hour of the day in `timezone`, 0 to 23.
        WEEKDAY: The day of the week in `timezone`, 1 (Monday) to 7.
        HOUR_OF_WEEK: The day of the week and the hour in `timezone`: `1/09` is Monday, 9 to 10.
        REPLY_CLASS: The class of the person's first reply to the campaign; the key is null without
            a reply.
        SOURCE: Where the contact, or the outcome, comes from.
    """

    CAMPAIGN = "campaign"
    VARIANT = "variant"
    STEP = "step"
    LIST = "list"
    LINE = "line"
    ZIP = "zip"
    CITY = "city"
    YEAR_BUILT_BAND = "year_built_band"
    VALUE_BAND = "value_band"
    OWNER_OCCUPIED = "owner_occupied"
    HOUR = "hour"
    WEEKDAY = "weekday"
    HOUR_OF_WEEK = "hour_of_week"
    REPLY_CLASS = "reply_class"
    SOURCE = "source"


OF_CAMPAIGN = frozenset(
    {Dimension.CAMPAIGN, Dimension.VARIANT, Dimension.STEP, Dimension.LIST, Dimension.LINE}
)
OF_PERSON = frozenset(
    {
        Dimension.ZIP,
        Dimension.CITY,
        Dimension.YEAR_BUILT_BAND,
        Dimension.VALUE_BAND,
        Dimension.OWNER_OCCUPIED,
        Dimension.SOURCE,
    }
)
PLACES = (Dimension.ZIP, Dimension.CITY, Dimension.SOURCE)
"""The breakdowns by the person's place: ZIP, city and source. Each table with copies of records has
one column for each of these breakdowns, with the same name."""
OF_REPLY = frozenset({Dimension.REPLY_CLASS})
OF_TIME = frozenset({Dimension.HOUR, Dimension.WEEKDAY, Dimension.HOUR_OF_WEEK})


class Bucket(StrEnum):
    """The period of each figure in a series: a day, a week or a month in `timezone`.

    A week begins on Monday.
    """

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_CAMPAIGN = "LEFT JOIN campaign g ON g.id = b.campaign_id"
LIST_KEY = "coalesce(CAST(b.list_id AS text), g.audience ->> 'list_id')"
"""SQL expression for the id of a record's list: the list for which a cost was paid, or the list to
which the campaign was sent."""
# If a contact was merged as a duplicate, its data is read from the contact into which it was
# merged.
_OF_PERSON = """CROSS JOIN LATERAL (
            SELECT coalesce(d.id, e.id) AS id,
                   CASE WHEN d.id IS NULL THEN e.postal_code ELSE d.postal_code END AS postal_code,
                   CASE WHEN d.id IS NULL THEN e.city ELSE d.city END AS city,
                   CASE WHEN d.id IS NULL THEN e.source ELSE d.source END AS source,
                   CASE WHEN d.id IS NULL THEN e.attributes ELSE d.attributes END AS attributes
        ) p"""
_PERSON = f"""LEFT JOIN contact e ON e.id = b.contact_id
        LEFT JOIN contact d ON d.id = e.merged_into
        {_OF_PERSON}"""
# These joins find the place (ZIP, city and source) with which the stored sums count the person.
# After a person's place has changed, this is still the former place for about a minute. Only few
# records have no stored place. `OFFSET 0` makes PostgreSQL look up the contact of each of these
# records. Otherwise, PostgreSQL may read all contacts.
_PLACE = f"""LEFT JOIN LATERAL (
            SELECT c.* FROM contact c WHERE c.id = b.contact_id OFFSET 0) e ON true
        LEFT JOIN LATERAL (
            SELECT c.* FROM contact c WHERE c.id = e.merged_into OFFSET 0) d ON true
        {_OF_PERSON}
        LEFT JOIN (
            SELECT DISTINCT ON (v.contact_id) v.contact_id, v.postal_code, v.city, v.source
            FROM insight_person_move v ORDER BY v.contact_id, v.id) f
          ON f.contact_id = b.contact_id"""


def _placed(key: str) -> str:
    return f"CASE WHEN f.contact_id IS NULL THEN p.{key} ELSE f.{key} END"


_PROPERTY = f"""{_PERSON}
        LEFT JOIN LATERAL (
            SELECT h.year_built, h.attributes FROM property_contact o
            JOIN property h ON h.id = o.property_id
            WHERE o.contact_id = p.id ORDER BY o.added_at, o.property_id LIMIT 1) y ON true"""


def _attribute(*names: str) -> str:
    """Return the SQL expression for the value of an attribute that can have several names.

    First, the attributes of the property are searched for each name in turn. Then the attributes of
    the contact are searched in the same way. The first value that is found is used.
    """
    found = [f"{of}.attributes ->> '{name}'" for of in ("y", "p") for name in names]
    return f"coalesce({', '.join(found)})"


_YEAR = f"""coalesce(y.year_built, CASE WHEN {_attribute("year_built", "yr_built")} ~ '^[0-9]{{4}}$'
        THEN CAST({_attribute("year_built", "yr_built")} AS integer) END)"""
_PLAIN = f"""replace(replace(
        {_attribute("est_value", "estimated_value", "property_est_value")}, ',', ''), '$', '')"""
_VALUE = (
    f"""(CASE WHEN {_PLAIN} ~ '^[0-9]{{1,12}}([.][0-9]+)?$' THEN CAST({_PLAIN} AS numeric) END)"""
)
_LOCAL = "b.at AT TIME ZONE CAST(:zone AS text)"
_OWNER = f"lower({_attribute('owner_occ', 'owner_occupied', 'property_owner_occ')})"


@dataclass(frozen=True, kw_only=True)
class BreakdownSql:
    """The SQL that computes figures separately for each value of a breakdown, such as each city.

    In the SQL, ``b`` is the query that selects the records.

    Attributes:
        key: The SQL expression of the value, a text or NULL.
        joins: The SQL joins that ``key`` needs.
        label: The SQL expression of the name that users see instead of the key; NULL if users see
            the key.
        labels: The name of each key, for a breakdown with fixed keys, such as weekdays.
    """

    key: str
    joins: str = ""
    label: str = "NULL"
    labels: Mapping[str, str] = field(default_factory=dict)


BREAKDOWNS = {
    Dimension.CAMPAIGN: BreakdownSql(
        key="CAST(b.campaign_id AS text)", joins=_CAMPAIGN, label="g.name"
    ),
    Dimension.VARIANT: BreakdownSql(
        key="b.campaign_id || '/' || b.variant",
        joins=f"""{_CAMPAIGN}
        LEFT JOIN campaign_variant w ON w.campaign_id = b.campaign_id AND w.position = b.variant""",
        label="g.name || ': ' || w.name",
    ),
    Dimension.STEP: BreakdownSql(key="CAST(b.step AS text)"),
    Dimension.LIST: BreakdownSql(
        key=LIST_KEY,
        joins=f"{_CAMPAIGN} LEFT JOIN contact_list i ON CAST(i.id AS text) = {LIST_KEY}",
        label="i.name",
    ),
    Dimension.LINE: BreakdownSql(
        key="CAST(g.line_id AS text)",
        joins=f"{_CAMPAIGN} LEFT JOIN line n ON n.id = g.line_id",
        label="n.name",
    ),
    Dimension.ZIP: BreakdownSql(key=f"left({_placed('postal_code')}, 5)", joins=_PLACE),
    Dimension.CITY: BreakdownSql(key=_placed("city"), joins=_PLACE),
    Dimension.YEAR_BUILT_BAND: BreakdownSql(
        key=f"""CASE WHEN {_YEAR} < 1900 THEN 'before 1900'
        ELSE {_YEAR} / 20 * 20 || '-' || {_YEAR} / 20 * 20 + 19 END""",
        joins=_PROPERTY,
    ),
    Dimension.VALUE_BAND: BreakdownSql(
        key=f"""CASE WHEN {_VALUE} < 250000 THEN 'under 250,000'
        WHEN {_VALUE} < 500000 THEN '250,000-499,999' WHEN {_VALUE} < 750000 THEN '500,000-749,999'
        WHEN {_VALUE} < 1000000 THEN '750,000-999,999'
        WHEN {_VALUE} >= 1000000 THEN '1,000,000 and more' END""",
        joins=_PROPERTY,
    ),
    Dimension.OWNER_OCCUPIED: BreakdownSql(
        key=f"""CASE WHEN {_OWNER} IN ('1', 'yes', 'true', 'y') THEN 'yes'
        WHEN {_OWNER} IN ('0', 'no', 'false', 'n') THEN 'no' END""",
        joins=_PROPERTY,
    ),
    Dimension.HOUR: BreakdownSql(key=f"CAST(CAST(extract(hour FROM {_LOCAL}) AS integer) AS text)"),
    Dimension.WEEKDAY: BreakdownSql(
        key=f"CAST(CAST(extract(isodow FROM {_LOCAL}) AS integer) AS text)",
        labels=dict(zip("1234567", calendar.day_name, strict=True)),
    ),
    Dimension.HOUR_OF_WEEK: BreakdownSql(
        key=f"to_char({_LOCAL}, 'ID/HH24')", label=f"to_char({_LOCAL}, 'FMDay HH24:00')"
    ),
    # After a merge, the messages of the duplicate belong to the contact into which it was merged.
    Dimension.REPLY_CLASS: BreakdownSql(
        key="q.reply_class",
        joins=f"""{_PERSON}
        LEFT JOIN LATERAL (
            SELECT a.reply_class FROM activity a
            WHERE a.contact_id IN (b.contact_id, p.id) AND a.campaign_id = b.campaign_id
              AND a.kind = 'message' AND a.direction = 'incoming'
            ORDER BY a.occurred_at, a.id LIMIT 1) q ON true""",
    ),
    Dimension.SOURCE: BreakdownSql(key=f"coalesce(b.source, {_placed('source')})", joins=_PLACE),
}
