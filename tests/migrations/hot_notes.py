"""Queries on notes."""

from tests.migrations.hot import CONTACT, PLACE, Hot

from crm_api.domain.people.notes import service

NOTES = [
    Hot(
        "notes on a person, newest first",
        {"idx_contact_note_contact"},
        lambda s: service.fetch_notes(s, contact_id=CONTACT, is_pinned=None, after=PLACE, limit=51),
        is_generic=True,
    ),
]
