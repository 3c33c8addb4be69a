"""A ticket (the secret part of a mailed link) is refused from the instant at which it expires."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.conftest import NOW

from crm_api.domain.identity.users import mailed_links
from crm_api.domain.identity.users.errors import TicketOverError
from crm_api.domain.identity.users.models import TicketPurpose, User, UserRole, UserStatus
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
RESET = TicketPurpose.PASSWORD_RESET


async def test_a_ticket_expires_at_its_instant(new_uow: NewUow) -> None:
    end = NOW + mailed_links.RESET_FOR
    before = end - timedelta.resolution
    user = User(
        email="olga@firm.example.com",
        name="Olga",
        role=UserRole.AGENT,
        status=UserStatus.ACTIVE,
        password_hash="old hash",  # noqa: S106 - made up
        created_at=NOW,
        updated_at=NOW,
    )
    async with new_uow() as uow:
        uow.session.add(user)
        await uow.session.flush()
        token = await mailed_links.create_ticket(
            uow, user.id, RESET, mailed_links.RESET_FOR, now=NOW
        )

        with pytest.raises(TicketOverError):
            await mailed_links.require_ticket(uow, token=token, purpose=RESET, now=end)
        with pytest.raises(TicketOverError):
            await mailed_links.use_ticket(uow, token, RESET, now=end)

        await mailed_links.require_ticket(uow, token=token, purpose=RESET, now=before)
        assert await mailed_links.use_ticket(uow, token, RESET, now=before) == user.id
