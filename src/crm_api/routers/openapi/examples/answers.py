"""What an answer's fields hold where their names alone do not tell."""

from typing import Any

from crm_api.routers.openapi.examples.ids import example_id
from crm_api.routers.openapi.examples.people import PEOPLE
from crm_api.routers.openapi.examples.running import RUNNING
from crm_api.routers.openapi.examples.sending import SENDING
from crm_api.routers.openapi.examples.values import NOW

ANSWERS: dict[str, Any] = PEOPLE | SENDING | RUNNING
"""By the schema's name: some of its fields, the others follow from ``values``; or the whole."""

_DRAFT = {
    "status": "draft",
    "recipients_total": None,
    "recipients_written": 0,
    "started_at": None,
}
_BEGUN = {
    "status": "pending",
    "rows_total": None,
    "rows_processed": 0,
    "created": 0,
    "updated": 0,
    "unchanged": 0,
    "invalid": 0,
    "duplicates_in_file": 0,
    "texts_withdrawn": 0,
    "started_at": None,
    "finished_at": None,
}

_WAITS = {
    "status": "pending",
    "attempts": 0,
    "next_attempt_at": NOW,
    "last_attempt_at": None,
    "duration_ms": None,
    "response_status": None,
    "response_body": None,
    "delivered_at": None,
}

AFTER: dict[str, dict[str, Any]] = {
    "add_flag": {"flags": ["office_number"]},
    "cancel_campaign": {"status": "cancelled", "finished_at": NOW},
    "cancel_import": {"status": "cancelled"},
    "cancel_phone_validation": {"status": "cancelled"},
    "cancel_upload": {"status": "cancelled"},
    "clone_campaign": _DRAFT | {"id": example_id("copy"), "name": "Foundation check, January"},
    "create_campaign": _DRAFT,
    "create_import": _BEGUN | {"dry_run": True, "changes": {}, "sample": []},
    "create_phone_validation": _BEGUN | {"checked": 0, "looked_up": 0, "line_types": {}},
    "create_run": _BEGUN | {"pages_done": 0, "items_seen": 0, "updated": 0, "already_known": 0},
    "create_upload": _BEGUN | {"numbers_read": 0, "newly_suppressed": 0, "contacts_matched": 0},
    "opt_out": {"opted_out": True, "flags": ["opted_out"]},
    "order_check": {"status": "waiting", "sent_at": None, "received_at": None}
    | {"latency_ms": None, "concluded_at": None},
    "pause_campaign": {"status": "paused"},
    "send_message": {
        "origin": "manual",
        "campaign_id": None,
        "body": "See you on Tuesday at four.",
        "status": "queued",
        "provider_message_id": None,
    },
    "send_test": {"origin": "test", "status": "queued", "provider_message_id": None}
    | {"phone": "+16175550101", "contact_id": None},
    "disable_webhook_endpoint": {
        "status": "disabled",
        "disabled_reason": "requested",
        "disabled_at": NOW,
    },
    "retry_webhook_delivery": _WAITS,
    "send_test_webhook": _WAITS
    | {"type": "webhook.test", "data": {"endpoint_id": example_id("webhook_endpoint")}},
    "start_campaign": {"status": "scheduled", "started_at": None, "recipients_total": None}
    | {"recipients_written": 0},
    "update_campaign": _DRAFT,
}
"""What an operation's answer has otherwise than others of its kind, since it just did it."""
