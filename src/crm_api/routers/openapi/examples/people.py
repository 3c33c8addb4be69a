"""Answers about people: contacts, imports, lists, segments, consent, properties."""

from typing import Any

from crm_api.routers.openapi.examples.ids import CONTACT, SEGMENT, example_id
from crm_api.routers.openapi.examples.values import NOW

_RULES = {"all": [{"field": "city", "op": "eq", "value": "Quincy"}]}
_DIGEST = "636d41fedaafd0477d12396aa9b731c9699b679a3303d3f4ef66ed5d6e1cd254"
_SALT = "9f1c62d07a4be83551f0c2d9a8e7b614"
_CHANGED = {"filled": 31, "overwritten": 0}

PEOPLE: dict[str, Any] = {
    "BatchResult": {"succeeded": 1, "failed": 0},
    "ConsentChainEnd": {"position": 1204, "digest": _DIGEST},
    "ConsentEntryRead": {"id": "1204", "activity_id": None},
    "ConsentProof": {"phone_hash": _DIGEST, "erased_at": None}
    | {"how_to_check": "`crm-api doctor` verifies the whole chain; docs/consent.md says how."},
    "ConsentVerdict": {"result": "ok", "findings": []},
    "ContactRead": {"line_type": "mobile"},
    "CustomFieldFitRead": {"fitting": 238, "rewritten": 2, "misfits": 1},
    "CustomFieldMisfitRead": {"value": "about 1928", "detail": "This is no whole number."},
    "CustomFieldRead": {"name": "year_built", "type": "integer", "is_applied": True}
    | {"archived_at": None},
    "ErasureRead": {"reason": "asked by letter", "status": "completed"},
    "FlagRead": {"reason": "front desk of a clinic"},
    "ImportChangeRead": _CHANGED,
    "ImportColumnRead": {
        "column": "Mobile",
        "field": "phone",
        "told_by": "name",
        "fits": 239,
        "examples": ["(617) 555-0123"],
    },
    "ImportDetailChanges": {"email": _CHANGED},
    "ImportChanges": {"email": _CHANGED},
    "ImportDetail": {"notes": []},
    "ImportDetailMapping": {"Mobile": "phone", "Owner": "first_name", "Remarks": None},
    "ImportMapping": {"Mobile": "phone", "Owner": "first_name", "Remarks": None},
    "ImportExampleChanges": {"email": {"before": None, "after": "ada.rossi@example.com"}},
    "ImportExampleRead": {"outcome": "updated"},
    "ImportUndoRead": {"status": "completed", "removed": 180, "restored": 31, "left_edited": 2}
    | {"left_in_use": 1, "memberships_removed": 211},
    "ItemResult": {"index": 0, "status": 201, "problem": None},
    "ListRead": {"name": "Owners in Quincy"},
    "MergeCandidateRead": {"score": 80},
    "MergeRead": {"merged_by": "olga@granite.example.com", "can_be_undone": True},
    "MergeReasonRead": {"reason": "same_email", "score": 80},
    "MissingReferenceRead": {
        "pointer": "/all/0",
        "code": "unknown_list",
        "detail": "No list has this id.",
    },
    "NoteRead": {"body": "Works nights: call after four."},
    "OptedOut": {"numbers": 3, "newly_opted_out": 2},
    "PhoneValidationLineTypes": {"mobile": 221, "landline": 17, "voip": 2},
    "PhoneValidationRead": {
        "status": "completed",
        "total": 240,
        "checked": 240,
        "looked_up": 12,
        "continues_at": None,
    },
    "PropertyContactRead": {"role": "primary"},
    "ProvenEntry": {"id": "1204", "reason": "STOP", "source": "message", "actor": "person"}
    | {"evidence": {"text": "STOP please"}},
    "ProvenFlag": {"flag": "opted_out", "reason": "STOP"},
    "ProvenLink": {"position": 1204, "digest": _DIGEST, "previous_digest": "0" * 64, "fits": True}
    | {"key_id": "5d1c9a02"},
    "ProvenMessage": {"direction": "incoming", "origin": "provider", "body": "STOP please"}
    | {"status": "received", "line": "+16175550100"},
    "ProvenTexts": {"accepted": 1},
    "ProvenWording": {"digest": _DIGEST, "salt": _SALT, "canonical": '{"reason":"STOP"}'}
    | {"fits": True},
    "SegmentCount": {"count": 187},
    "SegmentDetail": {"name": "Homeowners in Quincy", "filter": _RULES, "missing": []},
    "SegmentExplanation": {"segment_id": SEGMENT, "is_in": True},
    "SegmentFieldRead": {"name": "city", "label": "City", "kind": "text", "type": None}
    | {"operators": ["eq", "ne", "in", "not_in"]},
    "SegmentNodeVerdict": {
        "pointer": "/all/0",
        "node": "rule",
        "holds": True,
        "field": "city",
        "op": "eq",
        "value": "Quincy",
        "actual": "Quincy",
    },
    "SegmentPreviewRead": {"count": 187},
    "SegmentRead": {"name": "Homeowners in Quincy", "filter": _RULES},
    "TagChangeRead": {
        "status": "completed",
        "add": ["homeowner"],
        "remove": [],
        "matched": 240,
        "changed": 228,
    },
    "TagRead": {"counted_at": NOW},
    "TimelineConsent": {"id": "1204", "type": "opt_out", "source": "message", "actor": "person"}
    | {"activity_id": example_id("message")},
    "TimelineNote": {"id": example_id("note"), "body": "Works nights: call after four."},
    "UploadRead": {
        "status": "completed",
        "file_name": "state-list.csv",
        "columns": ["phone"],
        "reason": "state list",
        "rows_processed": 1200,
        "numbers_read": 1199,
        "invalid": 1,
        "newly_suppressed": 14,
        "contacts_matched": 14,
        "texts_withdrawn": 3,
    },
}

_IMPORT = {
    "status": "completed",
    "started_at": "2026-11-24T16:20:01.000Z",
    "finished_at": "2026-11-24T16:20:03.000Z",
    "source": "file",
    "detected_format": "csv",
    "rows_total": 240,
    "rows_processed": 240,
    "created": 180,
    "updated": 31,
    "unchanged": 27,
    "invalid": 1,
    "duplicates_in_file": 1,
    "on_duplicate": "fill",
    "dry_run_id": None,
    "undo": None,
}
PEOPLE["ImportDetail"] |= _IMPORT
PEOPLE["ImportRead"] = _IMPORT
PEOPLE["MergedContactRead"] = PEOPLE["ContactRead"] | {"id": CONTACT}
