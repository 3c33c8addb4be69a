"""Verify that the stored credits of outcomes are still correct.

An attribution run stores the credits with a hash. ``verify_run`` computes the credits again, and
compares the new credits and the stored credits with the hash.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import text

from crm_api.domain.insight.attribution.models import AttributionRun
from crm_api.domain.insight.attribution.rules import find_rules
from crm_api.domain.insight.attribution.runs import (
    CHUNK,
    CreditRow,
    Progress,
    compute_all_credits,
    last_run,
    result_bytes,
)
from crm_api.platform.database import UnitOfWork, typed_rows


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of verifying a run: whether its data and its credits are still the same.

    Attributes:
        is_input_same: True if the data that the run read, such as messages and replies, are
            unchanged.
        is_result_same: True if the new computation gave the same credits as the run.
        is_stored_same: True if the stored credits are unchanged since the run.
    """

    run: AttributionRun
    is_input_same: bool
    is_result_same: bool
    is_stored_same: bool

    @property
    def is_proved(self) -> bool:
        """Whether all three comparisons (input, result, stored credits) found no difference."""
        return self.is_input_same and self.is_result_same and self.is_stored_same


STORED = text("""
    SELECT c.outcome_id, c.membership_id, c.campaign_id, c.variant, c.step, c.touch_class,
           c.numerator, c.denominator, c.cents
    FROM outcome_credit c WHERE c.run_id = :run_id
    ORDER BY c.outcome_id, c.membership_id NULLS LAST
""")


async def verify_run(
    uow: UnitOfWork, *, version: int | None, progress: Progress | None = None
) -> Verification | None:
    """Verify the last attribution run of a version of the rules.

    The credits are computed again, without data that is newer than the run.

    Args:
        version: The version of the rules; None for the current version.

    Returns:
        The result; None if this version has no run.

    Raises:
        RulesNotFoundError: No version of the rules has the number ``version``.
    """
    rules = await find_rules(uow, version=version)
    run = await last_run(uow.session, version=rules.version)
    if run is None:
        return None
    hashes = await compute_all_credits(uow.session, rules, as_of=run.as_of, progress=progress)
    stored = hashlib.sha256()
    result = await uow.session.stream(STORED, {"run_id": run.id})
    async for rows in result.partitions(CHUNK):
        stored.update(result_bytes(typed_rows(CreditRow, rows)))
    return Verification(
        run=run,
        is_input_same=hashes.inputs == run.inputs_hash,
        is_result_same=hashes.result == run.result_hash,
        is_stored_same=stored.digest() == run.result_hash,
    )
