"""The waiting recipients of a contact when the contact gets a new number."""

from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after

from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts.schemas import ContactUpdate
from crm_api.platform.database import UnitOfWorkFactory


async def test_hold_of_the_old_number_does_not_apply_to_the_new_number(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.flag("opt_out_hold")
    before = await ledger.recipient()
    async with new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[before.phone], now=NOW)
    held = await ledger.recipient()

    async with new_uow() as uow:
        await contact_changes.update_contact(
            uow,
            ContactUpdate(phone="+16175550177"),
            contact_id=before.contact_id,
            now=after(60),
        )

    member = await ledger.recipient()
    assert held.status == "held"
    assert (member.status, member.phone) == ("pending", "+16175550177")
