"""Queries on merges of contacts that must use an index."""

from tests.conftest import NOW
from tests.migrations.filling import FINISHED, made_id, phone_of
from tests.migrations.hot import CONTACT, PHONE, PLACE, Hot, use_case

from crm_api.domain.consent import queries as consent
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.people.contacts import search
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.schemas import ContactFilter
from crm_api.domain.people.deduplication import candidates, group, recipient_moves, undo
from crm_api.domain.people.tags import tag_changes

MERGING = [
    Hot(
        "tag change that waits longest",
        {"idx_tag_change_running"},
        tag_changes.lock_next_change,
    ),
    Hot(
        "people of a chunk whose tags change",
        {"idx_contact_tags|pk_contact"},
        lambda s: search.fetch_matching_ids(
            s,
            ContactFilter(tag="tag17"),
            after=CONTACT,
            created_until=NOW,
            limit=2000,
            now=NOW,
        ),
    ),
    Hot(
        "all numbers of people who must not be contacted",
        {"idx_contact_merged_into", "uq_contact_phone|idx_contact_phone_hash"},
        lambda s: consent.numbers_of_people(s, phones=[PHONE, phone_of(9)]),
    ),
    Hot(
        "merges, newest first",
        {"idx_contact_merge_merged"},
        use_case(
            lambda u: undo.list_merges(
                u,
                contact_id=None,
                cursor=Cursors("merges", contact_id=None).write(*PLACE),
                limit=50,
            )
        ),
    ),
    Hot(
        "merges of a contact",
        {"idx_contact_merge_primary", "idx_contact_merge_duplicates"},
        use_case(lambda u: undo.list_merges(u, contact_id=CONTACT, cursor=None, limit=50)),
    ),
    Hot(
        "merges into a contact",
        {"idx_contact_merge_primary"},
        lambda s: undo.fetch_undoable_merges(s, primary_id=CONTACT),
    ),
    Hot(
        "numbers of a person",
        {"idx_contact_merged_into", "pk_contact"},
        lambda s: contacts.fetch_numbers(s, contact_id=CONTACT),
        is_generic=True,
    ),
    Hot(
        "all numbers of the contact that has a number",
        {"idx_contact_merged_into", "idx_contact_phone_hash|uq_contact_phone"},
        lambda s: consent.numbers_of_person(s, phone=PHONE),
        is_generic=True,
    ),
    Hot(
        "contacts that are merged, locked",
        {"idx_contact_merged_into", "pk_contact"},
        lambda s: group.lock_contacts(s, ids=[CONTACT, made_id("contact", 8)]),
    ),
    Hot(
        "campaigns of people who are merged",
        {"idx_campaign_membership_phone"},
        lambda s: recipient_moves.lock_campaigns(s, phones=[PHONE]),
    ),
    Hot(
        "memberships of people who are merged",
        {
            "idx_campaign_membership_phone",
            "uq_campaign_membership_campaign_id_step_contact_id|idx_campaign_membership_campaign",
        },
        lambda s: recipient_moves.lock_members(
            s, campaign_ids=[FINISHED], contact_ids=[CONTACT], phones=[PHONE]
        ),
    ),
    Hot(
        "pairs that may be one person",
        {"idx_merge_candidate_score"},
        lambda s: candidates.fetch_candidates(
            s, contact_id=None, min_score=0, after=(50, CONTACT), limit=51
        ),
    ),
    Hot(
        "pairs of contacts that are merged",
        {"idx_merge_candidate_second", "uq_merge_candidate_first_id_second_id"},
        lambda s: candidates.forget_candidates(s, contact_ids=[CONTACT]),
    ),
    Hot(
        "memberships that are moved back to a duplicate",
        {"uq_campaign_membership_campaign_id_step_contact_id|idx_campaign_membership_campaign"},
        lambda s: recipient_moves.return_members(
            s,
            of=CONTACT,
            phone_of=PHONE,
            to=made_id("contact", 8),
            phone="+16015550008",
            zone_key="MA/zone1",
            campaign_ids=[FINISHED],
            kept_ids=[],
            now=NOW,
        ),
    ),
]
