"""Queries on do-not-contact lists."""

from tests.conftest import NOW
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import PHONE, PLACE, Hot

from crm_api.domain.consent import queries as consent
from crm_api.domain.do_not_contact import queries as do_not_contact

UPLOADS = [
    Hot(
        "do-not-contact lists, newest first",
        {"idx_do_not_contact_upload_created"},
        lambda s: do_not_contact.list_uploads(s, after=PLACE, limit=51),
    ),
    Hot(
        "the do-not-contact list that waits longest",
        {"idx_do_not_contact_upload_waiting"},
        lambda s: do_not_contact.claim(s, now=NOW, lease_until=NOW),
    ),
    Hot(
        "errors of a do-not-contact list",
        {"idx_do_not_contact_upload_error_upload"},
        lambda s: do_not_contact.list_errors(s, upload_id=made_id("upload", 5), after=0, limit=500),
    ),
    Hot(
        "what the store has of a list's numbers",
        {"idx_contact_flag_type_phone", "uq_contact_phone", "idx_campaign_membership_phone"},
        lambda s: do_not_contact.survey(
            s, phones=[phone_of(i) for i in range(200)], since=NOW, now=NOW
        ),
    ),
    Hot(
        "a list's numbers are flagged",
        {"uq_contact_flag_phone_flag_type"},
        lambda s: consent.stand_flags(
            s, phones=[PHONE], flag="do_not_contact", reason="x", now=NOW
        ),
    ),
]
