"""Queries on what is known of numbers, and on the runs that ask."""

from uuid import UUID

from tests.conftest import NOW
from tests.migrations.filling import LIST, made_id
from tests.migrations.hot import CONTACT, PLACE, Hot

from crm_api.domain.phone_validation import queries
from crm_api.domain.phone_validation.models import PhoneValidation

PHONES = [
    Hot(
        "validations of numbers, newest first",
        {"idx_phone_validation_created"},
        lambda s: queries.list_runs(s, after=PLACE, limit=51),
    ),
    Hot(
        "the validation of numbers that is next",
        {"idx_phone_validation_open"},
        lambda s: queries.claim(s, token=UUID(int=1), lease_until=NOW, now=NOW),
        is_generic=True,
    ),
    Hot(
        "the next people of a validation, and what is known of their numbers",
        {"pk_contact_list_member", "pk_contact", "pk_phone_lookup"},
        lambda s: queries.next_page(
            s,
            run=PhoneValidation(id=made_id("validation", 1), list_id=LIST, position=CONTACT),
            limit=20,
            now=NOW,
        ),
        is_generic=True,
    ),
]
