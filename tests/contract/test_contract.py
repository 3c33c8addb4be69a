"""The document and the service say the same: a bounded run of what `make fuzz` does for long."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import empty_tables
from tests.contract.house import House, open_house
from tests.contract.trying import Effort, Report, try_all
from tests.contract.world import put_rows

from crm_api.db import session_factory
from crm_api.embedded import ServerUrls

SEED = 20_261_126
"""Another one tries other requests: `make fuzz` draws it."""
PARTS = {
    "contacts": "^/v1/contacts(/(batch|tags|merge|opt-out|by-phone.*|{contact_id}[^/]*))?$",
    "of a contact": "^/v1/(contacts/{contact_id}/|contact-merges|contacts/merge-|tag|consent)",
    "campaigns": "^/v1/campaigns",
    "the sandbox and access": "^/v1/(sandbox|api-keys|auth|users|webhook-e)",
    "lists and fields": "^/v1/(lists|segments|templates|custom-fields|properties|lines)",
    "coming in": "^/v1/(imports|do-not|erasures|media|conversations|messages|calls)|^/webhooks",
}
OTHERS = "^(?!" + "|".join(f"(?:{part.removeprefix('^')})" for part in PARTS.values()) + ")"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    engine: AsyncEngine,
    database_url: str,
    urls: ServerUrls,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    async with session_factory(engine)() as session:
        pools = await put_rows(session)
    folder: Path = tmp_path_factory.mktemp("contract")
    with open_house(
        database_url=database_url, redis_url=urls.redis_url or "", folder=folder, pools=pools
    ) as house:
        yield house
    await empty_tables(engine)


def told(report: Report) -> str:
    print(f"SEED={SEED}: {report}")  # noqa: T201 - shown when it fails
    return "\n\n".join(str(one) for one in sorted(report.findings.values()))


@pytest.mark.timeout(300)  # a few seconds of work; another test may hold the processor
@pytest.mark.parametrize("part", [*PARTS, "all else"])
def test_every_operation_keeps_what_the_document_promises(house: House, part: str) -> None:
    effort = Effort(
        phases=("examples", "coverage", "fuzzing"),
        seed=SEED,
        examples=3,
        only=PARTS.get(part, OTHERS),
    )

    report = try_all(house, effort)

    assert told(report) == ""
    assert len(report.operations) >= 10


@pytest.mark.timeout(300)
def test_operations_fit_each_other_along_their_links(house: House) -> None:
    report = try_all(house, Effort(phases=("stateful",), seed=SEED, examples=20))

    assert told(report) == ""
    assert report.cases > 50
