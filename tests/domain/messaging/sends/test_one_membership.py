"""A campaign has one recipient row for each step and contact, and for each step and number."""

import pytest
from sqlalchemy.exc import IntegrityError
from tests.domain.messaging.sends.ledger import Ledger

from crm_api.platform.database import UnitOfWorkFactory

AGAIN = """
    INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key, due_at,
        created_at, updated_at)
    SELECT uuid_v7(), campaign_id, :step,
           CASE WHEN :same = 'contact' THEN contact_id ELSE uuid_v7() END,
           CASE WHEN :same = 'phone' THEN phone ELSE '+16175559999' END,
           zone_key, due_at, created_at, updated_at
    FROM campaign_membership"""


@pytest.mark.parametrize("same", ["contact", "phone"])
async def test_step_has_no_contact_or_number_twice(new_uow: UnitOfWorkFactory, same: str) -> None:
    ledger = await Ledger.open(new_uow)

    with pytest.raises(IntegrityError):
        await ledger.run(AGAIN, step=0, same=same)

    await ledger.run(AGAIN, step=1, same=same)
    assert len(await ledger.recipients()) == 2
