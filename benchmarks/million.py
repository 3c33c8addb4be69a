"""Create a database with a million contacts and five million activities, for other benchmarks.

59 % of the contacts got messages of 3 to 14 campaigns over two lines. The recipients of the last 6
campaigns are stored. 13 % of these contacts have replied, and one contact has 5,000 messages. 3 %
of all contacts are opted out.
"""

import asyncio
import os
import tempfile
import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.prepared_cluster import copy_cluster

from benchmarks import million_statements as statements
from benchmarks import population
from benchmarks.bulk import bare_tables
from benchmarks.stage import say
from benchmarks.web import SECRET_KEY
from crm_api.dev.embedded_servers import servers
from crm_api.domain.consent.models import hash_phone
from crm_api.domain.kit import regions
from crm_api.domain.kit.zones import zone_key
from crm_api.platform.migration_runner import upgrade

PEOPLE = 1_000_000
FOLDER = "BENCHMARKS_FOLDER"
LISTS, ROUNDS, ROUNDS_WITH_MEMBERS = 12, 14, 6
TABLES = (
    *("contact", "contact_flag", "contact_list_member", "conversation", "activity"),
    *("campaign_membership", "consent_entry", "consent_wording"),
)
TAGS = [f"{kind}{number}" for number in ("", "-2025", "-2026") for kind in (
    *("basement", "crawl-space", "cracks", "drainage", "estimate", "hot", "cold", "referral"),
    *("mailer", "web", "fair", "radio", "senior", "landlord", "new-owner", "call-back"),
)]  # fmt: skip
"""Tags; the first tags are the most common ones. In the lists of names below, the first names are
the most common ones too."""
_COMMON_SURNAMES = (
    "Smith Johnson García Williams Brown Jones Miller Davis Rodríguez Martínez Hernández López "
    "Wilson Anderson Thomas O'Brien Taylor Moore Jackson Martin Lee Pérez Thompson White Harris "
    "Núñez Müller Sánchez Clark Ramírez Lewis Robinson Walker Young Allen King Wright Scott Torres"
)
_SURNAME_PARTS = (
    (
        "Ash Beck Bran Cal Dun East Far Gar Hal Holm Kel Lang Mar Nor Oak Pen Quin Rus Sel Stan "
        "Thorn Ul Ver Wes Whit Wil Win Wood Wren Yar Zel Al Bel Cor Den El Fen Gil Har Ing"
    ),
    (
        "field ford land man sen son ton well wick wood worth by dale den er gate ham hurst ing "
        "ley low mere more ner nock over per quist ridge row shaw stead stone strom tner ver vik "
        "way yard zik ac berg beck"
    ),
)
_COMMON_GIVEN_NAMES = (
    "James Mary José Robert Maria John Patricia Michael Jennifer David Linda William Elizabeth "
    "Richard Barbara Joseph Susan Thomas Jessica María Charles Sarah Zoë Karen Daniel Nancy Renée "
    "Matthew Lisa Anthony Betty Mark Ada Ann-Marie Paul Steven Chloé Andrew Kim Kenneth Emily"
)
_GIVEN_NAME_PARTS = (
    "A Be Ca Da E Fa Ga Ha I Ja Ka La Ma Na O Pa Ra Sa Ta U Va Wa",
    "bel dine fred gail hild lan len lia lina mir na nor ra rico rion ron sha tan vin",
)
_TOWN_PARTS = (
    "Alder Birch Cedar Clear Elm Fair Glen Green High Lake Maple Mill North Oak Spring",
    "brook bury dale field ford port ridge ton view wood",
)


@contextmanager
def million(
    people: int = PEOPLE, *, fill_more: Callable[[str], Awaitable[None]] | None = None
) -> Iterator[str]:
    """Run a database server until the block ends; yield the URL of a database with the rows.

    The database is a copy that the block may change. If the variable ``BENCHMARKS_FOLDER`` is set,
    the rows are written only once into that folder, for all benchmarks of one run.

    Args:
        people: The number of contacts.
        fill_more: A function that adds rows to the database with this URL, before it is copied.
    """
    with ExitStack() as stack:
        kept = os.environ.get(FOLDER)
        if kept is None:
            temporary = tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True)
            kept = stack.enter_context(temporary)
        name = "" if fill_more is None else f"{fill_more.__module__}-"
        folder = Path(kept) / f"{name}{people}"
        folder.mkdir(exist_ok=True)
        note = folder / "filled"
        if not note.exists():
            copy_cluster(folder)
            # The rows are written faster without ``fsync``. The measurements use the server's
            # default settings.
            with servers(folder, redis=False, fsync=False) as urls:
                asyncio.run(upgrade(str(urls.database_url)))
                asyncio.run(fill(str(urls.database_url), people=people))
                if fill_more is not None:
                    asyncio.run(_run(fill_more, str(urls.database_url)))
            note.touch()
        url = str(stack.enter_context(servers(folder, redis=False)).database_url)
        yield asyncio.run(population.copy_database(url, "copy"))


async def _run(fill_more: Callable[[str], Awaitable[None]], database_url: str) -> None:
    await fill_more(database_url)


async def fill(database_url: str, *, people: int) -> None:
    """Empty all tables, and write the contacts with their consent history and past campaigns."""
    await population.clear(database_url)
    for phone_number_id in population.LINES:
        await population.add_line(database_url, phone_number_id)
    async with bare_tables(database_url, TABLES) as connection:
        await connection.exec_driver_sql("SET LOCAL work_mem = '128MB'")
        for statement in statements.PREPARATION:
            await connection.exec_driver_sql(statement)
        await _add_people(connection, people)
        await _add_consent(connection)
        await _add_past(connection)
        say("the rows are written")
    say("the indexes are built")
    await population.settle(database_url)
    say("the planner knows them")


async def _add_people(connection: AsyncConnection, people: int) -> None:
    surnames = [*_COMMON_SURNAMES.split(), *_join(_SURNAME_PARTS)]
    given_names = [*_COMMON_GIVEN_NAMES.split(), *_join(_GIVEN_NAME_PARTS)]
    area_codes = sorted(
        code
        for code, state in regions.AREA_CODE_STATES.items()
        if state in regions.ZIP_STATES.values()
    )
    await connection.execute(statements.SURNAMES, _with_plain(surnames))
    await connection.execute(statements.GIVEN_NAMES, _with_plain(given_names))
    await connection.execute(statements.PLACES, _places(area_codes))
    await connection.execute(
        statements.CONTACTS,
        {
            "people": people,
            "area_codes": len(area_codes),
            "surnames": len(surnames),
            "given_names": len(given_names),
            "tags": TAGS,
        },
    )
    await connection.execute(statements.FLAGS)
    await connection.execute(statements.LISTS, {"lists": LISTS})
    await connection.execute(statements.LIST_MEMBERS)


async def _add_consent(connection: AsyncConnection) -> None:
    phones = list(await connection.scalars(statements.OPTED_OUT))
    hashes = [hash_phone(phone, SECRET_KEY.encode()) for phone in phones]
    await connection.execute(statements.CONSENT, {"phones": phones, "hashes": hashes})


async def _add_past(connection: AsyncConnection) -> None:
    for statement in statements.TALKS:
        await connection.exec_driver_sql(statement)
    await connection.exec_driver_sql("ANALYZE talk")
    await connection.execute(statements.CONVERSATIONS)
    line_id = await connection.scalar(text("SELECT id FROM line ORDER BY phone_number_id LIMIT 1"))
    for number in range(1, ROUNDS + 1):
        campaign = {"line_id": line_id, "status": "completed", "count": 0, "body": population.BODY}
        made = await connection.execute(
            population.CAMPAIGN, {**campaign, "zone_keys": list(population.ZONE_KEYS)}
        )
        in_round = {"campaign_id": made.scalar_one(), "round": number}
        await connection.execute(
            statements.ACTIVITIES, {**in_round, "body": population.body(number)}
        )
        await connection.execute(statements.BUSIEST, {"round": number})
        if number > ROUNDS - ROUNDS_WITH_MEMBERS:
            await connection.execute(statements.MEMBERSHIPS, in_round)


def _join(parts: tuple[str, str]) -> list[str]:
    first, second = parts
    # Sort by the second part first, so that neighbouring names do not begin with the same letters.
    return [left + right for right, left in product(second.split(), first.split())]


def _with_plain(names: list[str]) -> dict[str, list[str]]:
    """Return the names, and the same names without accents and punctuation for e-mail addresses."""
    decomposed = (unicodedata.normalize("NFD", name) for name in names)
    plain = ["".join(letter for letter in name if letter.isascii()) for name in decomposed]
    return {"names": names, "plain": [name.replace("'", "") for name in plain]}


def _places(area_codes: list[str]) -> dict[str, list[str]]:
    """Return four towns for each area code, in the state of the area code."""
    towns = _join(_TOWN_PARTS)
    first_zip: dict[str, str] = {}
    for prefix, state in regions.ZIP_STATES.items():
        first_zip.setdefault(state, prefix)
    columns: dict[str, list[str]] = {
        name: [] for name in ("area_codes", "states", "cities", "postal_codes", "zone_keys")
    }
    for number, (area_code, town) in enumerate(product(area_codes, range(4))):
        state = regions.AREA_CODE_STATES[area_code]
        postal_code = f"{first_zip[state]}{town:02d}"
        columns["area_codes"].append(area_code)
        columns["states"].append(state)
        columns["cities"].append(towns[number % len(towns)])
        columns["postal_codes"].append(postal_code)
        columns["zone_keys"].append(
            zone_key(
                timezone=None,
                state=state,
                postal_code=postal_code,
                phone=f"+1{area_code}5550100",
            )
        )
    return columns
