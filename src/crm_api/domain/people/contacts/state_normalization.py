"""Replace state names by state codes in old contacts.

If the stored text does not name a state, it is moved to the attribute ``state_as_written``. The
zone key of each changed contact is computed again. If neither the text nor the ZIP code gives a
state, messages are sent only at hours that all states allow.

The zone keys of addresses of the armed forces, and of Palau, Micronesia and the Marshall Islands
are computed again, if they were stored before the time zones of these addresses were known.
"""

from collections.abc import Sequence
from datetime import datetime

import orjson
from sqlalchemy import RowMapping, text

from crm_api.domain.kit import regions
from crm_api.domain.kit.zones import (
    DOMESTIC_NAMES,
    STATE_AS_WRITTEN,
    STATE_CODES,
    ZoneKey,
    state_code,
    zone_key_of,
)
from crm_api.domain.people.contacts import recipients
from crm_api.platform.database import UnitOfWork

_AT_ONCE = 500

# This query reads only one index entry for each distinct value of ``state``, so its duration does
# not depend on the number of contacts.
_NAMES = text("""
    WITH RECURSIVE found AS (
        (SELECT lower(state) AS name FROM contact
         WHERE deleted_at IS NULL AND lower(state) > '' ORDER BY lower(state) LIMIT 1)
        UNION ALL
        SELECT (SELECT lower(state) FROM contact
                WHERE deleted_at IS NULL AND lower(state) > f.name ORDER BY lower(state) LIMIT 1)
        FROM found f WHERE f.name IS NOT NULL
    )
    SELECT name FROM found WHERE name <> ALL (CAST(:codes AS text[]))
""")

# Contacts are locked in the order of their phone numbers, as in all other code, so that two
# transactions cannot deadlock.
_ROWS = text("""
    SELECT id, phone, state, postal_code, timezone, zone_key, attributes FROM contact
    WHERE deleted_at IS NULL AND lower(state) = ANY (CAST(:names AS text[]))
      AND (coalesce(btrim(country), '') = ''
           OR lower(btrim(country)) = ANY (CAST(:domestic AS text[])))
    ORDER BY phone LIMIT :limit FOR NO KEY UPDATE
""")

# A zone key that was stored before the time zones of these addresses were known has all zones of
# `regions.ANYWHERE` and no zone outside the states. A new key has such a zone.
WITH_OLD_KEYS = text("""
    SELECT id, phone, state, postal_code, timezone, zone_key, attributes FROM contact
    WHERE deleted_at IS NULL
      AND (lower(state) IN ('aa', 'ae', 'ap', 'fm', 'mh', 'pw')
               AND zone_key LIKE '?/America/Anchorage,%'
               AND zone_key !~ 'Sao_Paulo|Dubai|Tokyo'
           OR zone_key = :anywhere
               AND left(CASE WHEN btrim(postal_code) ~ '^[0-9]{1,4}$'
                             THEN lpad(btrim(postal_code), 5, '0')
                             ELSE btrim(postal_code) END, 3) = ANY (CAST(:zips AS text[]))
               AND (coalesce(btrim(country), '') = ''
                    OR lower(btrim(country)) = ANY (CAST(:domestic AS text[]))))
    ORDER BY phone LIMIT :limit FOR NO KEY UPDATE
""")
_OLD = {
    "anywhere": str(ZoneKey((), tuple(sorted(regions.ANYWHERE)))),
    "zips": list(regions.MILITARY_ZIPS),
    "domestic": list(DOMESTIC_NAMES),
    "limit": _AT_ONCE,
}

_WRITE = text("""
    UPDATE contact AS c
    SET state = r.state, attributes = c.attributes || CAST(r.added AS jsonb),
        zone_key = r.zone_key, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:added AS text[]),
        CAST(:zone_keys AS text[])) AS r (id, state, added, zone_key)
    WHERE c.id = r.id
""")


async def normalise_states(uow: UnitOfWork, *, now: datetime) -> int:
    """Replace the state names of up to 500 contacts by state codes.

    If no state name is left, compute old zone keys of up to 500 contacts again. Addresses outside
    the US and Canada do not change.

    Returns:
        The number of contacts that were changed. Call the function again until it returns 0.
    """
    codes = [code.lower() for code in STATE_CODES]
    names = list(await uow.session.scalars(_NAMES, {"codes": codes}))
    rows: Sequence[RowMapping] = ()
    if names:
        values = {"names": names, "domestic": list(DOMESTIC_NAMES), "limit": _AT_ONCE}
        rows = (await uow.session.execute(_ROWS, values)).mappings().all()
    rows = rows or (await uow.session.execute(WITH_OLD_KEYS, _OLD)).mappings().all()
    pairs = [(row, _written({**row})) for row in rows]
    # The caller continues until the result is 0. So a contact that does not change must not count.
    pairs = [
        (row, new) for row, new in pairs if (row["state"], row["zone_key"]) != (new[0], new[2])
    ]
    if not pairs:
        return 0
    rows, written = [row for row, _ in pairs], [new for _, new in pairs]
    await uow.session.execute(
        _WRITE,
        {
            "ids": [row["id"] for row in rows],
            "states": [state for state, _, _ in written],
            "added": [added for _, added, _ in written],
            "zone_keys": [zone_key for _, _, zone_key in written],
            "now": now,
        },
    )
    moved = [
        row["phone"]
        for row, (_, _, zone_key) in zip(rows, written, strict=True)
        if row["zone_key"] != zone_key
    ]
    if moved:
        await recipients.copy_zone_keys(uow.session, phones=moved, now=now)
    return len(rows)


def _written(row: dict[str, object]) -> tuple[str | None, str, str]:
    """Return the new state code of a contact, the attributes to add (JSON), and the new zone key.

    A zone key is a text with the states and time zones in which a person may live.
    """
    text_of_state = str(row["state"] or "")
    code = state_code(text_of_state)
    added = {} if code or not text_of_state else {STATE_AS_WRITTEN: text_of_state}
    attributes = row["attributes"] if isinstance(row["attributes"], dict) else {}
    zone_key = zone_key_of({**row, "state": code, "attributes": {**attributes, **added}})
    return code, orjson.dumps(added).decode(), zone_key
