"""Queries on contacts, consent, lists and imports that must use an index."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.filling import LIST, made_id, phone_of
from tests.migrations.hot import CONTACT, PHONE, PLACE, Hot, use_case
from tests.migrations.support import Call

from crm_api.domain.consent import linking
from crm_api.domain.consent import queries as consent
from crm_api.domain.consent.legal_rules.changes import find_places
from crm_api.domain.imports.contacts import commit, merge_plan, staging, undo
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, OnDuplicate
from crm_api.domain.imports.contacts.rows import PersonRow, as_record
from crm_api.domain.imports.files import runs
from crm_api.domain.kit import idempotency
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.consent_decisions import flags
from crm_api.domain.people.batch import opt_outs as batch_opt_outs
from crm_api.domain.people.batch import service as batch
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import recipients, search, timeline
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort
from crm_api.domain.people.lists import service as lists


def listed(sort: ContactSort = ContactSort.NEWEST, **wanted: Any) -> Call:
    """Return a call that reads the second page of filtered contacts."""
    order = search.ORDERS[sort]

    async def run(session: AsyncSession) -> None:
        begun = search.Search.of(ContactFilter(**wanted), order, now=NOW)
        after = ("rossi17 ada", PLACE[1]) if order.is_text else PLACE
        await search.fetch_contacts(session, begun.continued(after), limit=51)

    return run


ORDER_INDEXES = {
    ContactSort.CREATED: "idx_contact_created",
    ContactSort.NEWEST: "idx_contact_created",
    ContactSort.NAME: "idx_contact_name",
    ContactSort.NAME_BACKWARDS: "idx_contact_name",
    ContactSort.UPDATED: "idx_contact_updated",
    ContactSort.LAST_UPDATED: "idx_contact_updated",
}
CONTACTS = [
    Hot(
        "contact by phone",
        {"idx_contact_phone_hash", "uq_contact_flag_phone_flag_type"},
        lambda s: contacts.find_contact_by_phone(s, phone=PHONE, now=NOW),
        is_generic=True,
    ),
    *(
        Hot(f"contacts by {sort}", {index}, listed(sort), is_generic=True)
        for sort, index in ORDER_INDEXES.items()
    ),
    *(
        Hot(
            f"contacts by {sort}, few match",
            {index, "idx_contact_search"},
            listed(sort, q="ada777@example"),
            is_generic=True,
        )
        for sort, index in ORDER_INDEXES.items()
        if sort in {ContactSort.NEWEST, ContactSort.NAME, ContactSort.UPDATED}
    ),
    Hot("contacts by two letters", {"idx_contact_search"}, listed(q="xq"), is_generic=True),
    Hot("contacts by tag", {"idx_contact_tags"}, listed(tag="tag17"), is_generic=True),
    Hot("zone keys of contacts", {"idx_contact_zone_key"}, find_places),
    Hot("contacts of a state", {"idx_contact_place"}, listed(state="Guam"), is_generic=True),
    Hot(
        "contacts of a town",
        {"idx_contact_place"},
        listed(state="MA", city="Salem"),
        is_generic=True,
    ),
    Hot(
        "contacts who opted out",
        {"idx_contact_flag_type_phone"},
        listed(opted_out=True, created_before=NOW - timedelta(days=400)),
    ),
    Hot(
        "contacts of a list by name",
        {"pk_contact_list_member"},
        listed(ContactSort.NAME, list_id=LIST, q="zz"),
    ),
    Hot(
        "contacts of a list",
        {"idx_contact_list_member_added"},
        lambda s: contacts.fetch_list_members(s, list_id=LIST, after=PLACE, limit=51, now=NOW),
    ),
    Hot(
        "lists of an erased contact",
        {"idx_contact_list_member_contact", "pk_contact"},
        lambda s: contact_changes.blank_contact(
            s, contact_id=CONTACT, zone_key="MA/zone1", now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "waiting memberships of a changed number",
        {"idx_campaign_membership_phone", "uq_campaign_membership_campaign_id_step_phone"},
        lambda s: recipients.move_recipients(
            s,
            contact_id=CONTACT,
            old_phone=PHONE,
            phone="+16175559999",
            zone_key="MA/zone1",
            now=NOW,
        ),
    ),
    Hot(
        "recipients of a contact that moved",
        {"uq_contact_phone", "idx_campaign_membership_phone"},
        lambda s: recipients.copy_zone_keys(s, phones=["+16175550007", "+16175550009"], now=NOW),
        is_generic=True,
    ),
    Hot(
        "timeline of a contact",
        {
            "idx_activity_contact",
            "idx_consent_entry_phone_hash",
            "idx_campaign_membership_phone",
            "idx_contact_note_contact",
            *("idx_appointment_contact", "idx_quote_contact", "idx_invoice_contact"),
            "idx_outcome_subject_contact",
        },
        lambda s: timeline.fetch_timeline(
            s,
            contact_id=CONTACT,
            phones=[PHONE, phone_of(9)],
            phone_hashes=[sha256(b"hash7").digest()],
            after=(NOW, CONTACT),
            limit=51,
        ),
        is_generic=True,
    ),
    Hot(
        "consent history",
        {"idx_consent_entry_phone_hash", "pk_consent_wording"},
        lambda s: consent.history(
            s, phone_hash=sha256(b"hash7").digest(), before_id=None, limit=51
        ),
    ),
    Hot(
        "a number's entries with their links",
        {"idx_consent_entry_phone_hash", "uq_consent_link_entry_id", "pk_consent_link"},
        lambda s: linking.read_entries_of_number(s, phone_hash=sha256(b"hash7").digest()),
        is_generic=True,
    ),
    Hot(
        "the chain, page by page",
        {"pk_consent_link", "pk_consent_entry", "pk_consent_wording"},
        lambda s: linking.read_links(s, after=3000, limit=200),
    ),
    Hot("the chain's end", {"pk_consent_link"}, linking.read_last_link),
    Hot(
        "flags of numbers",
        {"uq_contact_flag_phone_flag_type"},
        lambda s: flags.flags_of(s, phones=[phone_of(i) for i in range(20)], now=NOW),
    ),
    Hot(
        "an opt-out flag is added to a number",
        {"uq_contact_flag_phone_flag_type"},
        lambda s: flags.set_flags(s, [flags.NewFlag(PHONE, "opted_out", "x")], now=NOW),
    ),
    Hot(
        "contacts of a batch",
        {"uq_contact_phone|idx_contact_phone_hash", "pk_contact"},
        lambda s: batch.lock_contacts(
            s, phones=[phone_of(i) for i in range(20)], contact_ids=[CONTACT]
        ),
    ),
    Hot(
        "contacts that must be opted out",
        {"uq_contact_phone|idx_contact_phone_hash", "pk_contact"},
        lambda s: batch_opt_outs.people_named(s, contact_ids=[CONTACT], phones=[PHONE]),
    ),
    Hot(
        "numbers of people, with their duplicates'",
        {"pk_contact", "idx_contact_merged_into"},
        lambda s: batch_opt_outs.numbers_of(s, contact_ids=[CONTACT]),
    ),
    Hot(
        "expired flags",
        {"idx_contact_flag_expires"},
        use_case(lambda uow: flags.expire_flags(uow, now=NOW, limit=5000)),
    ),
]

PEOPLE = [
    as_record(PersonRow(line=at, phone=phone_of(at), zone_key="MA/zone1"), at)
    for at in range(1, 201)
]


async def locked(session: AsyncSession) -> None:
    await merge_plan.stage_people(session, PEOPLE)
    await staging.lock_known_contacts(session)


async def planned(session: AsyncSession) -> None:
    await merge_plan.stage_people(session, PEOPLE)
    await merge_plan.plan_merge(session, on_duplicate=OnDuplicate.FILL)


IMPORTS = [
    Hot("contacts of a chunk of a file", {"uq_contact_phone|idx_contact_phone_hash"}, locked),
    Hot("plan for the rows of a chunk", {"uq_contact_phone|idx_contact_phone_hash"}, planned),
    Hot(
        "contacts that a chunk wrote",
        {"pk_contact_import_chunk", "pk_contact"},
        lambda s: undo.lock_chunk_contacts(s, import_id=made_id("import", 5), start=0),
    ),
    Hot(
        "later changes of contacts that a chunk created",
        {"pk_contact", "idx_activity_contact", "idx_send_attempt_phone"},
        lambda s: undo.fetch_created_contacts(
            s, import_id=made_id("import", 5), start=0, own_reason="import 5"
        ),
    ),
    Hot(
        "contacts that a chunk added to a list",
        {"idx_contact_list_member_added"},
        lambda s: undo.remove_list_members(s, list_id=LIST, applied_at=NOW, staying=[]),
    ),
    Hot(
        "contacts that an undo removes",
        {"pk_contact", "idx_contact_list_member_contact", "idx_campaign_membership_phone"},
        lambda s: undo.remove_contacts(
            s,
            [made_id("contact", at) for at in range(1, 2_001)],
            phones=[phone_of(at) for at in range(1, 2_001)],
            now=NOW,
        ),
    ),
    Hot(
        "the last chunk of an import",
        {"pk_contact_import_chunk"},
        lambda s: undo.find_last_chunk(s, import_id=made_id("import", 5)),
    ),
    Hot(
        "the import that waits to be undone",
        {"idx_contact_import_undoing"},
        lambda s: undo.claim_undo(s, now=NOW),
    ),
    Hot(
        "the commit of a dry run",
        {"uq_contact_import_dry_run_id"},
        lambda s: commit.find_commit(s, dry_run_id=made_id("import", 7)),
    ),
    Hot(
        "imports, newest first",
        {"idx_contact_import_created"},
        use_case(
            lambda u: runs.list_imports(
                u,
                CONTACT_IMPORTS,
                cursor=Cursors(CONTACT_IMPORTS.list_name).write(*PLACE),
                limit=50,
            )
        ),
    ),
    Hot(
        "the import that waits longest",
        {"idx_contact_import_waiting"},
        lambda s: runs.claim_import(s, CONTACT_IMPORTS, now=NOW),
    ),
    Hot(
        "errors of an import",
        {"idx_contact_import_error_import"},
        lambda s: runs.list_errors(
            s, CONTACT_IMPORTS, import_id=made_id("import", 5), after=0, limit=500
        ),
    ),
    Hot(
        "the list of a name",
        {"uq_contact_list_name"},
        lambda s: lists.find_or_create_list(s, name="List 7", now=NOW),
    ),
    Hot(
        "lists, newest first, with their counts",
        {"idx_contact_list_created", "idx_contact_list_tally_list"},
        lambda s: lists.fetch_lists(s, after=PLACE, limit=51),
    ),
    Hot(
        "contacts added to a list",
        {"pk_contact"},
        lambda s: lists.insert_members(s, list_id=LIST, contact_ids=[CONTACT], now=NOW),
    ),
]

REQUESTS = [
    Hot(
        "the stored answer to a repeated request",
        {"pk_idempotency_key"},
        lambda s: idempotency.find_key(s, caller="key1", key="request1"),
    ),
    Hot(
        "stored answers that have expired",
        {"idx_idempotency_key_created"},
        use_case(lambda uow: idempotency.clean_up(uow, now=NOW - timedelta(days=4))),
    ),
]
