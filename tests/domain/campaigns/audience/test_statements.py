"""The statement that stores a chunk has only the clauses that its audience needs."""

import pytest

from crm_api.domain.campaigns.audience.selection import EXCLUSIONS, AudienceConditions
from crm_api.domain.campaigns.audience.storage import SKIP_STORED, insert_chunk_statement


def test_audience_without_exclusions_reads_no_exclusions() -> None:
    statement = insert_chunk_statement(AudienceConditions()).text

    assert not [name for name in EXCLUSIONS if name in statement]
    assert SKIP_STORED not in statement


@pytest.mark.parametrize("name", EXCLUSIONS)
def test_exclusion_is_read_only_if_the_audience_has_it(name: str) -> None:
    statement = insert_chunk_statement(AudienceConditions(exclusions=(name,))).text

    assert [other for other in EXCLUSIONS if other in statement] == [name]
