"""Prove that the service conforms to its OpenAPI document.

The test is a short run of `make fuzz` with a fixed seed.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import empty_tables
from tests.contract.running import RunningApplication, run_application
from tests.contract.trying import Effort, Report, try_all
from tests.contract.world import insert_rows
from tests.long_tests import IS_LONG_RUN

from crm_api.dev.embedded_servers import ServerUrls
from crm_api.platform.database import session_factory

SEED = 20_261_126
"""The seed is fixed, so that every run sends the same requests. `make fuzz` uses a random seed."""
PHASES = ("examples", "coverage", "fuzzing") if IS_LONG_RUN else ("examples", "fuzzing")
"""The phase ``coverage`` sends every limit of every parameter and field. It sends 19 of 20
requests, so only a long run has this phase."""
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
async def running(
    engine: AsyncEngine,
    database_url: str,
    urls: ServerUrls,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningApplication]:
    async with session_factory(engine)() as session:
        pools = await insert_rows(session)
    folder: Path = tmp_path_factory.mktemp("contract")
    with run_application(
        database_url=database_url, redis_url=urls.redis_url or "", folder=folder, pools=pools
    ) as running:
        yield running
    await empty_tables(engine)


@pytest.fixture(autouse=True)
def _no_rows_left() -> None:
    """Replace the fixture of this name, which checks that no rows are left.

    The tests share the rows of one application. The fixture ``running`` empties the tables at the
    end.
    """


def findings_of(report: Report) -> str:
    print(f"SEED={SEED}: {report}")  # noqa: T201 - shown when it fails
    return "\n\n".join(str(one) for one in sorted(report.findings.values()))


# The test takes a few seconds, but longer while other tests use the processor.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", [*PARTS, "all else"])
def test_every_operation_conforms_to_the_document(running: RunningApplication, part: str) -> None:
    effort = Effort(
        phases=PHASES,
        seed=SEED,
        examples=3,
        only=PARTS.get(part, OTHERS),
    )

    report = try_all(running, effort)

    assert findings_of(report) == ""
    assert len(report.operations) >= 10


@pytest.mark.timeout(300)
def test_operations_conform_along_their_links(running: RunningApplication) -> None:
    report = try_all(running, Effort(phases=("stateful",), seed=SEED, examples=20))

    assert findings_of(report) == ""
    assert report.cases > 50
