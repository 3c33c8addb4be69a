"""Answers about the service itself: accounts, webhooks, checks, jobs."""

from typing import Any

from crm_api.routers.openapi.examples.ids import CAMPAIGN, CONTACT, LINE, example_id
from crm_api.routers.openapi.examples.values import NOW, REPLY

_SECRET = "whsec_Zm91bmRhdGlvbnMgYXJlIGNoZWNrZWQgaGVyZQ=="  # noqa: S105 - made up
_ENDPOINT: dict[str, Any] = {
    "id": example_id("webhook_endpoint"),
    "url": "https://erp.granite.example.com/hooks/crm",
    "description": "ERP",
    "event_types": ["message.received", "opt_out"],
    "scopes": ["contacts:read", "messages:read", "webhooks:write"],
    "created_by": "ERP",
    "status": "active",
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "held_until": None,
}

_TEXT = {
    "message_id": example_id("message"),
    "status": "received",
    "error_code": None,
    "contact_id": CONTACT,
    "conversation_id": example_id("conversation"),
    "line_id": LINE,
    "campaign_id": CAMPAIGN,
}

RUNNING: dict[str, Any] = {
    "AlertFacts": {"status": "open"},
    "CallFacts": {"status": "completed", "is_over": True, "direction": "incoming"},
    "CampaignFacts": {"status": "running", "was": "scheduled"},
    "ImportFacts": {
        "status": "completed",
        "rows_total": 240,
        "rows_processed": 240,
        "created": 180,
        "updated": 31,
        "unchanged": 27,
        "duplicates_in_file": 1,
        "invalid": 1,
        "undo": None,
    },
    "MessageReceivedEvent": {"data": _TEXT},
    "MessageStatusEvent": {"data": _TEXT | {"status": "delivered"}},
    "AlertRead": {
        "detail": "The provider refuses texts from this line: top up the account, then unblock it.",
        "context": {"code": "402"},
        "status": "open",
        "count": 2,
        "acknowledged_at": None,
    },
    "ApiKeyCreated": {"key": "crm_7Kd2pX9QmVt4Rb6HsYw1ZcNf8JgLa3Ue5TiOk", "name": "Website form"},
    "ApiKeyRead": {"name": "Website form", "last_used_at": NOW},
    "AuditEntryRead": {
        "id": "48213",
        "actor_id": example_id("user"),
        "action": "start_campaign",
        "decision": None,
        "subject": CAMPAIGN,
        "detail": {
            "method": "POST",
            "route": "/v1/campaigns/{campaign_id}/start",
            "status": 200,
        },
        "request_id": "0b9f6c1f7a5d4c6f8e2d1c3b4a596877",
        "address": "203.0.113.7",
    },
    "CallerRead": {"kind": "user", "id": example_id("user"), "name": "olga@granite.example.com"}
    | {"email": "olga@granite.example.com", "role": "agent"},
    "ClockMoveRead": {
        "from_at": "2026-11-30T15:00:00.000Z",
        "to_at": "2026-12-14T15:00:00.000Z",
        "stops": 43,
        "failure": None,
    },
    "ClockRead": {"now": "2026-12-14T15:00:00.420Z", "ahead": "P14D", "status": "still"},
    "ErrorClassRead": {
        "error_code": "line_unknown",
        "types": ["message.received"],
        "events": 3,
        "last_error": "The event is of an own number that is not known here.",
    },
    "EventRead": {
        "type": "message.received",
        "campaign_id": CAMPAIGN,
        "data": {"status": "received", "contact_id": CONTACT, "line_id": LINE},
    },
    "LinkRead": {
        "url": f"https://crm.example.com/v1/media/{example_id('media')}"
        "?expires=1795667456&signature=rxBaTdXauytZVRvpwdIA0pXOz7aEWWcHu45-IdWAG4A",
    },
    "MediaFetchRead": {"kind": "picture", "url": "https://media.example.com/1.jpg"}
    | {"status": "stored", "next_attempt_at": NOW, "activity_id": example_id("message")},
    "MediaFetchesRetried": {"retried": 3},
    "PersonScriptRead": {"script": []},
    "ReadinessRead": {"status": "ok"},
    "ReadinessChecks": {"database": "ok", "migrations": "ok", "worker": "ok", "jobs": "ok"}
    | {"redis": "ok"},
    "ReconciliationRead": {
        "status": "completed",
        "since": "2026-11-29T00:00:00.000Z",
        "pages_done": 4,
        "items_seen": 180,
        "created": 1,
        "updated": 2,
        "already_known": 177,
        "drift": {},
    },
    "ReplayRead": {"replayed": 1},
    "ScheduledJobRead": {"name": "process_campaign_queue", "schedule": "every 60 s"}
    | {"state": "ok", "last_result": "ok", "runs": 4021, "duration_ms": 12, "failures": 0}
    | {"last_error": None, "misses": 0, "missed_from": None, "missed_until": None},
    "SelectionReplayRead": {"matched": 3, "replayed": 3},
    "TokenRead": {"expires_in": 900, "scope": "contacts:read contacts:write"},
    "UserInvited": {"id": example_id("user")}
    | {"email": "olga@granite.example.com", "name": "Olga", "role": "agent"}
    | {"status": "invited", "last_login_at": None, "invitation_token": None},
    "UserRead": {"email": "olga@granite.example.com", "name": "Olga", "role": "agent"}
    | {"status": "active"},
    "DeliveriesRetried": {"matched": 12, "retried": 12},
    "WorkerRead": {"state": "alive", "host": "worker-1", "process_id": 7, "version": "0.1.0"}
    | {"stopped_at": None},
    "WebhookDeliveryRead": {
        "type": "opt_out",
        "data": {"contact_id": CONTACT},
        "status": "delivered",
        "response_status": 204,
        "response_body": "",
    },
    "WebhookEndpointCreated": _ENDPOINT | {"secret": _SECRET},
    "WebhookEndpointRead": _ENDPOINT,
    "WebhookSecretRotated": {
        "secret": _SECRET,
        "previous_signs_until": "2026-12-01T14:05:12.000Z",
    },
    "WebhookEventRead": {
        "provider_event_id": "EV78473da9296247d3d87a620dc9b58621",
        "type": "message.received",
        "status": "processed",
        "payload": {
            "id": "EV78473da9296247d3d87a620dc9b58621",
            "type": "message.received",
            "data": {"object": {"from": "+16175550123", "body": REPLY}},
        },
    },
    "WebhookHealthCheckRead": {"side": "test_text", "status": "passed", "latency_ms": 820}
    | {"leg": None, "evidence": {}},
    "WebhookHealthRead": {"status": "ok"},
    "WebhookHealthSideRead": {"is_on": True, "status": "passed", "off_because": None},
}
