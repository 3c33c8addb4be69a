"""Queries on do-not-contact lists and erasures."""

from hashlib import sha256

from tests.conftest import NOW
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import CONTACT, PHONE, PLACE, Hot, sql

from crm_api.domain.consent import queries as consent
from crm_api.domain.do_not_contact import queries as do_not_contact
from crm_api.domain.erasure import queries as erasure
from crm_api.domain.erasure import statements

ERASURES = [
    Hot(
        "whether numbers' persons were erased",
        {"pk_erased_number"},
        lambda s: consent.erased(s, hashes=[sha256(b"hash7").digest()]),
    ),
    Hot(
        "words of an erased person's decisions",
        {"idx_consent_entry_phone_hash", "pk_consent_wording"},
        lambda s: consent.erase_words(s, hashes=[sha256(b"hash7").digest()]),
    ),
    Hot(
        "erasures, newest first",
        {"idx_erasure_created"},
        lambda s: erasure.list_erasures(s, after=PLACE, limit=51),
    ),
    Hot(
        "the erasure that is due",
        {"idx_erasure_sweeping"},
        lambda s: erasure.claim(s, now=NOW, lease_until=NOW),
    ),
    Hot(
        "a person's data is taken out",
        {"idx_activity_contact", "idx_activity_conversation", "idx_conversation_contact"}
        | {"idx_send_attempt_phone", "idx_campaign_membership_phone"}
        | {"idx_activity_queued", "pk_contact"},
        lambda s: erasure.erase_person(s, ids=[CONTACT], phones=[PHONE], zone_key="US", now=NOW),
    ),
    Hot(
        "properties of an erased person",
        {"idx_property_contact_contact"},
        lambda s: erasure.houses(s, contact_id=CONTACT),
    ),
    Hot(
        "texts under way to a person",
        {"idx_send_attempt_phone"},
        lambda s: erasure.texts_under_way(s, phones=[PHONE]),
    ),
    Hot(
        "files of an erased person",
        {"idx_activity_contact", "uq_media_fetch_activity_id_url"},
        lambda s: erasure.free_media(s, contact_id=made_id("contact", 1), now=NOW),
    ),
    Hot(
        "a file that nobody else has",
        {"idx_media_fetch_media", "pk_media"},
        sql(statements.DROP_MEDIA, ids=[made_id("media", 7)]),
    ),
]

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
