"""What the document of one occurrence of a problem has besides its sentence."""

from typing import Any

from crm_api.routers.openapi.examples.ids import CAMPAIGN, CONTACT, LINE, LIST, SEGMENT, example_id

POINTERS = {
    "consent_does_not_expire": "/expires_at",
    "empty_audience": "/audience",
    "empty_file": "/file",
    "incomplete_address": "/address",
    "invalid_attributes": "/attributes",
    "invalid_choices": "/choices",
    "invalid_cursor": "/cursor",
    "invalid_event_id": "/Last-Event-ID",
    "invalid_idempotency_key": "/Idempotency-Key",
    "invalid_phone": "/phone",
    "invalid_property_attributes": "/attributes",
    "merge_with_itself": "/duplicate_ids/1",
    "no_phone_column": "/file",
    "not_csv": "/file",
    "not_own_number": "/to",
    "tag_people": "/contact_ids",
    "ticket_over": "/token",
    "unknown_line": "/line_id",
    "unsearchable": "/q",
    "unsupported_grant_type": "/grant_type",
    "upload_gone": "/file",
    "weak_password": "/password",
    "workbook_too_large": "/file",
}
"""Where the fault of an invalid input is."""


def _fault(pointer: str, code: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "code": code, "detail": detail}


EXTRAS: dict[str, dict[str, Any]] = {
    "contact_exists": {"contact_id": CONTACT},
    "custom_field_exists": {"custom_field_id": example_id("custom_field")},
    "dry_run_committed": {"import_id": example_id("import")},
    "import_finished": {"import_status": "completed"},
    "invalid_campaign": {
        "errors": [
            _fault(
                "/schedule/window", "window", "The window must end later in the day than it starts."
            )
        ]
    },
    "invalid_filter": {
        "errors": [
            _fault(
                "/filter/all/1/field",
                "unknown_field",
                "There is no such field; GET /v1/segments/fields lists them.",
            )
        ]
    },
    "invalid_import_option": {
        "errors": [_fault("/list_id", "unknown_list", "There is no list with this id.")]
    },
    "invalid_mapping": {
        "errors": [
            _fault("/mapping/tel", "unknown_column", "The file has no such column; it has: phone")
        ]
    },
    "invalid_template": {
        "errors": [_fault("/body", "unknown_variable", "line 2, column 8: unknown variable nope.")]
    },
    "invalid_transition": {"allowed": ["resume", "cancel"]},
    "invalid_upload_option": {
        "errors": [
            _fault("/reason", "string_too_long", "String should have at most 200 characters")
        ]
    },
    "line_blocked": {
        "blocked_reason": "The provider refuses texts: top up the account, then unblock the line."
    },
    "line_exists": {"line_id": LINE},
    "list_exists": {"list_id": LIST},
    "media_already_stored": {"media_id": example_id("media")},
    "merge_not_undoable": {"reason": "merged_again", "contact_id": CONTACT},
    "missing_identification": {
        "errors": [
            _fault(
                "/variants/0/body",
                "sender_not_named",
                "The text of variant Short does not name the sender.",
            )
        ]
    },
    "missing_scope": {"required_scope": "contacts:write"},
    "missing_value": {"variable": "first_name"},
    "outside_window": {"next_allowed_at": "2026-12-01T13:00:00.000Z"},
    "property_exists": {"property_id": example_id("property")},
    "segment_exists": {"segment_id": SEGMENT},
    "segment_in_use": {"campaign_ids": [CAMPAIGN]},
    "template_exists": {"template_id": example_id("template")},
    "text_under_way": {"texts": 1},
    "unknown_contacts": {
        "errors": [_fault("/contact_ids/1", "contact_not_found", "No contact has this id.")]
    },
    "unknown_duplicates": {
        "errors": [_fault("/duplicate_ids/0", "contact_not_found", "No contact has this id.")]
    },
    "unknown_property_contacts": {
        "errors": [_fault("/contacts/0/contact_id", "contact_not_found", "No contact has this id.")]
    },
    "unknown_to_opt_out": {
        "errors": [_fault("/contact_ids/1", "contact_not_found", "No contact has this id.")]
    },
    "user_exists": {"user_id": example_id("user")},
    "validation_failed": {
        "errors": [
            _fault("/phone", "invalid_phone", "The number is too short: ten digits are needed.")
        ]
    },
    "values_do_not_fit": {"misfits": 3},
}
"""Further members of the document."""
