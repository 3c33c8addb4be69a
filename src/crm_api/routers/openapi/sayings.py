"""What one occurrence of each problem says, as in the answers: it says what to do.

A problem that is not named here says what its class says of it.
"""

SAID: dict[str, str] = {
    "api_key_expired": (
        "This API key expired at 2026-11-24T00:00:00.000Z. Use the one that replaced it, or make "
        "one: POST /v1/api-keys, or `crm-api keys create`."
    ),
    "api_key_revoked": (
        "This API key was revoked at 2026-11-24T00:00:00.000Z. Use another one, or make one: "
        "POST /v1/api-keys, or `crm-api keys create`."
    ),
    "batch_raced": "Others add the same numbers all the time; send the batch again.",
    "body_too_large": "The body has 2097152 bytes; 1048576 are taken. Send it in parts.",
    "campaign_not_editable": "The campaign is scheduled; only a draft can be changed or removed.",
    "changed_since": (
        "It has changed since this ETag was given. Read it again, look at what changed, and "
        "repeat the change with the new ETag in If-Match."
    ),
    "consent_does_not_expire": (
        "The flag opted_out ends by a decision, not by time; leave expires_at out."
    ),
    "contact_exists": "A contact with this number exists.",
    "contacts_changed": "Others merge or delete these contacts now; try again.",
    "csrf_token_missing": (
        "With the cookie send the value of the cookie crm_csrf in the header X-CSRF-Token."
    ),
    "custom_field_archived": "It was deleted; define a field of this name anew.",
    "custom_field_exists": "A custom field with this name exists; change that one.",
    "database_unavailable": "The database cannot be used right now; try again in a few seconds.",
    "dry_run_committed": (
        "The dry run has been committed; undo that first, or upload the file again."
    ),
    "dry_run_not_ready": "The dry run is pending; only a completed one can be committed.",
    "empty_audience": "Nobody in the audience may be texted: it is empty, or all have opted out.",
    "empty_file": "The file is empty.",
    "empty_span": "The run would begin at or after its end.",
    "event_not_stored": "The event could not be stored; please deliver it again.",
    "event_too_large": "A delivery may have 1048576 bytes at most.",
    "file_too_large": "A file may have at most 512 MiB; split it.",
    "flag_not_found": "This contact's number does not carry this flag.",
    "idempotency_key_in_use": (
        "A request with this Idempotency-Key is still under way. Send it again in a few "
        "seconds to get its answer."
    ),
    "idempotency_key_reused": (
        "This Idempotency-Key was sent with another method, path or body. Send a new key "
        "with each new request, and the same one only to repeat a request as it was."
    ),
    "import_finished": "The import has completed already.",
    "import_not_undoable": "A dry run has changed nothing, so there is nothing to undo.",
    "incomplete_address": "Give the street, and its ZIP code or its city and state.",
    "internal_error": "Something went wrong here. The request id leads to the log entry.",
    "invalid_attributes": "The attributes take 20015 bytes as JSON; the limit is 16384.",
    "invalid_campaign": "The campaign has one fault.",
    "invalid_choices": "Name the choices of a choice field.",
    "invalid_credentials": "This API key is not known or was revoked.",
    "invalid_cursor": "The cursor is not one of this list's; start again without it.",
    "invalid_event_id": "Give the id of an event as a stream gave it, such as 4711-42, or none.",
    "invalid_filter": (
        "The filter has one fault; the first at /filter/all/1/field: There is no such field; "
        "GET /v1/segments/fields lists them."
    ),
    "invalid_idempotency_key": (
        "An Idempotency-Key has 1 to 255 printable ASCII characters, such as a UUID."
    ),
    "invalid_import_option": "There is no list with this id.",
    "invalid_mapping": "The mapping does not fit the file.",
    "invalid_phone": "The number is too short: ten digits are needed.",
    "invalid_property_attributes": "The attributes take 18022 bytes as JSON; the limit is 16384.",
    "invalid_template": "The text has one fault; mend them and save again.",
    "invalid_transition": "A campaign that is paused cannot start; it can: resume, cancel.",
    "invalid_upload_option": "1 option(s) are wrong.",
    "last_owner": "This is the only active owner; make somebody else an owner before this.",
    "line_blocked": "The line is blocked and sends nothing.",
    "line_exists": "A line with this phone_number_id exists.",
    "line_unknown": (
        "The line PNq7x1Zk3v is not known here; read the lines from the provider with POST "
        "/v1/lines/sync, then replay this event."
    ),
    "lines_unreadable": "OpenPhone could not be reached or is busy; try again in a minute.",
    "list_exists": "A list with this name exists.",
    "list_member_not_found": "This contact is not on the list.",
    "malformed_json": "The body is not valid JSON in UTF-8; send it as application/json.",
    "malformed_upload": "Send the file as multipart/form-data, in the field `file`.",
    "media_already_stored": "The file is stored; nothing is left to fetch.",
    "media_link_expired": (
        "The link is over; ask for a new one with POST /v1/media/{media_id}/link."
    ),
    "media_link_invalid": (
        "The link was changed, or is not one of this service; ask for a new one with POST "
        "/v1/media/{media_id}/link."
    ),
    "media_object_missing": (
        "The file is known here, but its object is not in the store; restore it from a "
        "backup of CRM_MEDIA_URL."
    ),
    "media_store_unavailable": (
        "The store of pictures and recordings cannot be used; try again later."
    ),
    "merge_not_undoable": "The contact was merged into another one since; undo that merge first.",
    "merge_undone": "This merge was undone before.",
    "merge_with_itself": (
        "The primary is named as its own duplicate; take it out of duplicate_ids."
    ),
    "missing_credentials": "Send an API key or an access token as `Authorization: Bearer <it>`.",
    "missing_identification": (
        "The text of variant Short does not name the sender; write Granite Foundations into "
        "it, for example as {{ business.name }}."
    ),
    "missing_scope": "This needs the scope contacts:write.",
    "missing_value": "The contact has no value for first_name.",
    "no_phone_column": (
        "No column holds phone numbers. Columns found: \u201cname\u201d. Name the right one in "
        "`mapping`."
    ),
    "nobody_to_validate": "None of these contacts exists.",
    "not_a_dry_run": "Only a dry run can be committed; this import has changed things.",
    "not_csv": "The file is a PDF, not CSV; export it as CSV and try again.",
    "not_in_review": "The campaign is draft. It has no recipients before its start.",
    "not_own_number": (
        "A test goes to another own line than the one that sends; this number is none. GET "
        "/v1/lines lists them."
    ),
    "not_parked": "No send to this recipient waits for a person to settle it.",
    "note_not_found": "This person has no note with this id.",
    "openphone_list_incomplete": (
        "OpenPhone gave the same page twice; the list was not read to its end."
    ),
    "outside_window": (
        "At the recipient it is outside the hours in which the law lets a text leave, and "
        "they never texted this line."
    ),
    "phone_lookup_budget_spent": (
        "The 1000 look-ups of the day are used up (CRM_PHONE_LOOKUP_DAILY_BUDGET)."
    ),
    "phone_lookup_busy": "The look-up service answered 429.",
    "phone_lookup_refused": (
        "The look-up service answered 401; check CRM_PHONE_LOOKUP_API_KEY and the account."
    ),
    "phone_validation_ended": "The run is cancelled.",
    "phone_validation_lost": "Another worker goes on with this run, or it was cancelled.",
    "property_contact_not_found": "This contact does not belong to the property.",
    "property_exists": "A property with this address exists.",
    "range_not_satisfiable": "The file has 378 bytes.",
    "recipient_not_found": "This campaign has no such recipient.",
    "recipient_opted_out": "This number asked not to be texted.",
    "reconciliation_run_lost": "Another worker goes on with this run.",
    "sandbox_away": (
        "The sandbox does not do as it is told; `crm-api up` starts it, and starts it again when "
        "it has ended. Try again in a few seconds."
    ),
    "scope_not_held": (
        "You lack the scope campaigns:send, so you cannot grant it. Leave it out, or ask somebody "
        "who has it."
    ),
    "segment_exists": "A segment with this name exists.",
    "segment_in_use": (
        "Drafts, or campaigns that have yet to begin, name this segment. Give them another "
        "audience, or cancel them."
    ),
    "session_over": "This session is over; sign in again.",
    "signature_malformed": "openphone-signature is not hmac;1;<milliseconds>;<base64>.",
    "signature_mismatch": "No signing key gives this signature.",
    "signature_missing": "The request carries no webhook signature.",
    "signature_stale": "The signature is too old.",
    "tag_people": "Give either contact_ids or a filter.",
    "template_exists": (
        "A template with this name exists; choose another name, or change that one."
    ),
    "text_failed": "The text cannot be made: divided_by: can't divide by 0.",
    "text_under_way": (
        "A text to this person is under way, and whether it was sent is not known yet; try "
        "again in some minutes. One that waits for a person must be settled first."
    ),
    "ticket_over": "This link was used already or is too old; ask for a new one.",
    "too_many_custom_fields": (
        "At most 200 custom fields are kept; archive one that is not needed."
    ),
    "too_many_property_contacts": "At most 50 contacts belong to a property; take one off before.",
    "too_many_requests": "More than 100 requests came within 1 s. Wait so long, and send fewer.",
    "too_many_sign_ins": (
        "Too many sign-ins failed. Try again in 30 seconds, or reset the password."
    ),
    "unknown_contacts": "1 of the ids are no contacts; nobody was added.",
    "unknown_duplicates": "1 of the duplicates are no contacts; nothing was merged.",
    "unknown_line": "There is no line with this id.",
    "unknown_property_contacts": "1 of the ids are no contacts; nothing was changed.",
    "unknown_timezone": "The database does not know this time zone; take a current IANA name.",
    "unknown_to_opt_out": "1 of the ids are no contacts; nobody was opted out.",
    "unsearchable": "Search for something with a letter or a digit in it.",
    "unstorable_text": "A text holds a NUL character or half a surrogate pair; leave it out.",
    "unsupported_grant_type": (
        "Send grant_type=password with username and password, or grant_type=refresh_token."
    ),
    "upload_gone": "The uploaded file has been given up; upload it again.",
    "user_exists": "A user with this e-mail address exists.",
    "user_needed": "This is for users: sign in at /v1/auth/token; an API key has no session.",
    "validation_failed": "1 fault(s); the first at /phone.",
    "values_do_not_fit": (
        "3 contacts have a value of year_built that is no integer; change these first. "
        "`?dry_run=true` shows some."
    ),
    "weak_password": "A password has 10 to 256 characters.",
    "webhook_health_check_off": (
        "The test text is off: CRM_HEALTH_CHECK_FROM and CRM_HEALTH_CHECK_TO do not name two "
        "own lines between which a test text may go."
    ),
    "workbook_too_large": (
        "The workbook is too large to be unpacked here; export its sheet as CSV and try again."
    ),
    "wrong_credentials": "This e-mail address and password do not belong together.",
}
