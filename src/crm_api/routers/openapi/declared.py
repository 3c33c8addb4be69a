"""The problems of each operation: which codes a caller may meet.

What follows from the shape of an operation follows by rule (``failures``): who may call, how a
body is read, paging, what a path names. The table has what only its service decides. Nothing here
is believed: the tests' client compares every answer that any test gets with the document.
"""

OWN: dict[str, str] = {
    "accept_invitation": "ticket_over weak_password",
    "add_flag": "consent_does_not_expire",
    "add_members": "unknown_contacts",
    "apply_batch": "batch_raced",
    "attach_contact": "too_many_property_contacts unknown_property_contacts",
    "cancel_campaign": "invalid_transition",
    "cancel_import": "import_finished",
    "cancel_phone_validation": "phone_validation_ended",
    "cancel_upload": "do_not_contact_upload_finished",
    "change_password": "user_needed weak_password wrong_credentials",
    "change_tags": "tag_people unsearchable",
    "clear_sandbox_faults": "sandbox_away sandbox_only",
    "commit_import": "dry_run_not_ready invalid_import_option not_a_dry_run",
    "correct_import": (
        "dry_run_committed dry_run_not_ready invalid_import_option invalid_mapping "
        "no_phone_column not_a_dry_run upload_gone"
    ),
    "create_api_key": "expiry_in_the_past scope_not_held unknown_scope",
    "create_campaign": "invalid_campaign",
    "create_contact": "contact_exists invalid_attributes",
    "create_custom_field": (
        "custom_field_exists invalid_choices too_many_custom_fields values_do_not_fit"
    ),
    "create_import": (
        "empty_file file_too_large invalid_file invalid_import_option invalid_mapping "
        "malformed_upload no_phone_column not_csv workbook_too_large"
    ),
    "create_line": "line_exists unknown_timezone",
    "create_list": "list_exists",
    "create_phone_validation": "list_not_found nobody_to_validate",
    "create_property": "incomplete_address property_exists unknown_property_contacts",
    "create_run": "empty_span",
    "create_segment": "invalid_filter segment_exists",
    "create_template": "invalid_template template_exists",
    "create_upload": (
        "empty_file file_too_large invalid_mapping invalid_upload_option malformed_upload "
        "no_phone_column not_csv"
    ),
    "create_webhook_endpoint": "invalid_endpoint_url too_many_webhook_endpoints",
    "delete_campaign": "campaign_not_editable",
    "delete_segment": "segment_in_use",
    "detach_contact": "property_contact_not_found property_not_found",
    "erase_contact": "text_under_way",
    "explain_recipient": "recipient_not_found",
    "follow_campaign": "invalid_event_id",
    "follow_events": "invalid_event_id missing_scope",
    "forget_sandbox_people": "sandbox_away sandbox_only",
    "get_contact_by_phone": "contact_not_found invalid_phone",
    "get_property_by_address": "incomplete_address property_not_found",
    "get_sandbox_clock": "sandbox_only",
    "invite_user": "user_exists",
    "list_contacts": "invalid_phone unsearchable",
    "list_recipients": "invalid_campaign",
    "list_sandbox_faults": "sandbox_away sandbox_only",
    "list_sandbox_people": "sandbox_away sandbox_only",
    "merge_contacts": "contact_not_found contacts_changed merge_with_itself unknown_duplicates",
    "move_sandbox_clock": "clock_goes_forward clock_moves clock_too_far sandbox_only",
    "open_media": (
        "api_key_expired api_key_revoked invalid_credentials media_link_expired "
        "media_link_invalid media_object_missing media_store_unavailable missing_credentials "
        "missing_scope range_not_satisfiable session_over"
    ),
    "opt_out_many": "unknown_to_opt_out",
    "order_check": "webhook_health_check_off",
    "order_sandbox_fault": "sandbox_away sandbox_only",
    "pause_campaign": "invalid_transition",
    "preview_campaign": "invalid_campaign",
    "preview_draft": "invalid_campaign",
    "preview_segment": "invalid_filter",
    "receive_event": (
        "event_not_stored event_too_large malformed_json signature_malformed "
        "signature_mismatch signature_missing signature_stale"
    ),
    "refresh": "csrf_token_missing session_over",
    "remove_flag": "contact_not_found flag_not_found",
    "remove_member": "list_member_not_found list_not_found",
    "reset_password": "ticket_over weak_password",
    "resume_campaign": "audience_lost invalid_transition not_reconciled",
    "retry_fetch": "media_already_stored",
    "retry_webhook_deliveries": "webhook_endpoint_disabled",
    "retry_webhook_delivery": "webhook_endpoint_disabled",
    "review_recipients": "not_in_review",
    "rotate_api_key": "api_key_rotated",
    "script_sandbox_person": "sandbox_away sandbox_only",
    "send_message": "line_blocked outside_window recipient_opted_out unknown_line",
    "send_test": (
        "invalid_campaign line_blocked missing_value not_own_number recipient_opted_out text_failed"
    ),
    "send_test_webhook": "webhook_endpoint_disabled",
    "settle_recipient": "campaign_not_found not_parked recipient_not_found",
    "sign_in": "session_over too_many_sign_ins unsupported_grant_type wrong_credentials",
    "sign_out": "csrf_token_missing session_over",
    "sign_out_everywhere": "user_needed",
    "start_campaign": "empty_audience invalid_campaign invalid_transition missing_identification",
    "sync_lines": "lines_unreadable",
    "undo_import": "import_not_undoable",
    "undo_merge": "merge_not_undoable merge_undone",
    "update_api_key": "expiry_in_the_past",
    "update_campaign": "campaign_not_editable invalid_campaign",
    "update_contact": "contact_exists invalid_attributes",
    "update_custom_field": "custom_field_archived invalid_choices values_do_not_fit",
    "update_line": "unknown_timezone",
    "update_list": "list_exists",
    "update_property": "incomplete_address invalid_property_attributes property_exists",
    "update_segment": "invalid_filter segment_exists segment_in_use",
    "update_template": "invalid_template template_exists",
    "update_user": "last_owner",
    "update_webhook_endpoint": "invalid_endpoint_url",
}
"""By operation: codes. Where one says that something is not found, it says so for all of its path;
else each thing that the path names may be missing."""
