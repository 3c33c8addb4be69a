"""Queries on do-not-contact lists and erasures that must use an index."""

from hashlib import sha256

from tests.conftest import NOW
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import CONTACT, PHONE, PLACE, Hot, sql, use_case

from crm_api.domain.consent import example_evaluation, reply_examples, reply_readings
from crm_api.domain.imports.do_not_contact.service import DO_NOT_CONTACT_UPLOADS, survey_numbers
from crm_api.domain.imports.files import runs
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.consent_decisions import erased_numbers, flags
from crm_api.domain.people.erasure import erase, progress, records, removal

HASH = sha256(b"hash7").digest()
REPLY = made_id("activity", 7)

EXAMPLES = [
    Hot(
        "the last entry of a number with an action",
        {"idx_consent_entry_phone_hash", "pk_consent_wording", "pk_activity_key"},
        sql(reply_examples.LAST_ENTRY, phone_hash=HASH, action="opt_out"),
    ),
    Hot(
        "the reply reading that stops messages to a number",
        {"idx_consent_entry_phone_hash", "pk_consent_wording"},
        lambda s: reply_readings.find_reading(s, phone=PHONE, secret=b"key"),
    ),
    Hot(
        "the reply of a decision",
        {"idx_reply_example_phone_hash"},
        sql(reply_examples.DECIDED_AT, phone_hash=HASH, decided_at=NOW),
    ),
    Hot(
        "the newest reply of a number",
        {"uq_conversation_line_id_phone", "idx_activity_conversation"},
        sql(reply_examples.NEWEST_REPLY, phone=PHONE, since=NOW),
    ),
    Hot(
        "a reply with the last message before it and its entry",
        {"pk_activity", "idx_activity_conversation", "idx_consent_entry_phone_hash"},
        sql(reply_examples.REPLY, activity_id=REPLY, hashes=[HASH], office=["manual"]),
    ),
    Hot(
        "whether a message was received from a person",
        {"pk_activity"},
        sql(reply_examples.IS_REPLY, activity_id=REPLY, contact_id=CONTACT, phones=[PHONE]),
    ),
    Hot(
        "examples, in the order of their messages",
        {"pk_reply_example"},
        sql(example_evaluation.EXAMPLES, after=example_evaluation.FIRST, limit=500),
    ),
    Hot(
        "a reply is stored as an example",
        {"pk_activity"},
        sql(
            reply_examples.KEEP_EXAMPLE,
            activity_id=REPLY,
            phone=PHONE,
            phone_hash=HASH,
            previous=None,
            is_sale=False,
            read_as="none",
            reading={},
            label="stop",
            decision="opt_out",
            now=NOW,
        ),
    ),
]

ERASURES = [
    Hot(
        "whether the persons of numbers were erased",
        {"pk_erased_number"},
        lambda s: erased_numbers.find_erased_numbers(s, hashes=[HASH]),
    ),
    Hot(
        "wordings of an erased person's decisions",
        {"idx_consent_entry_phone_hash", "pk_consent_wording"},
        lambda s: erased_numbers.erase_words(s, hashes=[HASH]),
    ),
    Hot(
        "examples of an erased person",
        {"idx_reply_example_phone_hash"},
        lambda s: reply_examples.erase_reply_examples(s, hashes=[HASH]),
    ),
    Hot(
        "erasures, newest first",
        {"idx_erasure_created"},
        use_case(
            lambda u: records.list_erasures(u, cursor=Cursors("erasures").write(*PLACE), limit=50)
        ),
    ),
    Hot(
        "the erasure that is due",
        {"idx_erasure_sweeping"},
        lambda s: progress.claim_erasure(s, now=NOW),
    ),
    Hot(
        "a person's data is erased",
        {"idx_activity_contact", "idx_activity_conversation", "idx_conversation_contact"}
        | {"idx_send_attempt_phone", "idx_campaign_membership_phone"}
        | {"pk_contact"},
        lambda s: removal.erase_person(s, ids=[CONTACT], phones=[PHONE], zone_key="US", now=NOW),
    ),
    Hot(
        "messages that wait for an erased person",
        {"idx_activity_queued"},
        lambda s: erase.cancel_queued_messages(s, phones=[PHONE], now=NOW),
    ),
    Hot(
        "the numbers of a person to be erased",
        {"pk_contact", "idx_contact_merged_into", "uq_contact_phone|idx_contact_phone_hash"},
        lambda s: erase.lock_person_rows(s, contact_id=CONTACT, phones=[PHONE]),
    ),
    Hot(
        "properties of an erased person",
        {"idx_property_contact_contact"},
        lambda s: removal.fetch_property_ids(s, contact_id=CONTACT),
    ),
    Hot(
        "messages in flight to a person",
        {"idx_send_attempt_phone"},
        lambda s: erase.count_open_attempts(s, phones=[PHONE]),
    ),
    Hot(
        "files of an erased person",
        {"idx_activity_contact", "uq_media_fetch_activity_id_url"},
        lambda s: progress.release_media(s, contact_id=made_id("contact", 1), now=NOW),
    ),
    Hot(
        "a file that belongs to no other person",
        {"idx_media_fetch_media", "pk_media"},
        sql(progress.DROP_MEDIA, ids=[made_id("media", 7)]),
    ),
]

UPLOADS = [
    Hot(
        "do-not-contact lists, newest first",
        {"idx_do_not_contact_upload_created"},
        use_case(
            lambda u: runs.list_imports(
                u,
                DO_NOT_CONTACT_UPLOADS,
                cursor=Cursors(DO_NOT_CONTACT_UPLOADS.list_name).write(*PLACE),
                limit=50,
            )
        ),
    ),
    Hot(
        "the do-not-contact list that waits longest",
        {"idx_do_not_contact_upload_waiting"},
        lambda s: runs.claim_import(s, DO_NOT_CONTACT_UPLOADS, now=NOW),
    ),
    Hot(
        "errors of a do-not-contact list",
        {"idx_do_not_contact_upload_error_upload"},
        lambda s: runs.list_errors(
            s, DO_NOT_CONTACT_UPLOADS, import_id=made_id("upload", 5), after=0, limit=500
        ),
    ),
    Hot(
        "stored rows of a list's numbers",
        {"idx_contact_flag_type_phone", "uq_contact_phone", "idx_campaign_membership_phone"},
        lambda s: survey_numbers(s, phones=[phone_of(i) for i in range(200)], since=NOW, now=NOW),
    ),
    Hot(
        "a list's numbers are flagged",
        {"uq_contact_flag_phone_flag_type"},
        lambda s: flags.set_flags(s, [flags.NewFlag(PHONE, "do_not_contact", "x")], now=NOW),
    ),
]
