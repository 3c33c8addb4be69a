"""A body of each request, as somebody would send it."""

from typing import Any

from crm_api.routers.openapi.examples.ids import CONTACT, LINE, LIST, example_id
from crm_api.routers.openapi.examples.values import REPLY, TEXT

_SECOND_CONTACT = example_id("second_contact")
_RULES = {"all": [{"field": "city", "op": "eq", "value": "Quincy"}]}
_DRAFT: dict[str, Any] = {
    "name": "Foundation check, December",
    "line_id": LINE,
    "audience": {"list_id": LIST},
    "variants": [
        {"name": "Short", "body": TEXT, "weight": 50},
        {
            "name": "With the year",
            "body": 'Hi {{ first_name | default: "there" }}, Granite Foundations here. Houses of '
            "{{ attributes.year_built }} often have cracks; we look at yours for free. "
            "Reply STOP to opt out.",
            "weight": 50,
        },
    ],
}
_PASSWORD = "correct horse battery staple"  # noqa: S105 - made up
_TOKEN = "crmt_sjBvaKN4fpFS9IDEgZzqiWdJO2IngcizmeD6FwEZW00"  # noqa: S105 - made up
_CONTACT: dict[str, Any] = {
    "phone": "(617) 555-0123",
    "first_name": "Ada",
    "last_name": "Rossi",
    "email": "ada.rossi@example.com",
    "address": {"street": "12 Main Street", "city": "Quincy", "state": "MA"},
    "tags": ["homeowner"],
    "attributes": {"year_built": 1928},
}

REQUESTS: dict[str, Any] = {
    "ApiKeyCreate": {"name": "Website form", "scopes": ["contacts:read", "contacts:write"]},
    "ApiKeyRotate": {"overlap_seconds": 86_400},
    "ApiKeyUpdate": {"name": "Website form, new"},
    "BatchRequest": {
        "items": [
            {"op": "upsert", "contact": _CONTACT},
            {"op": "update", "id": _SECOND_CONTACT, "contact": {"tags": ["homeowner", "vip"]}},
            {"op": "delete", "id": example_id("third_contact")},
        ]
    },
    "CampaignCreate": _DRAFT
    | {
        "schedule": {
            "start_at": "2026-11-30T09:00:00-05:00",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "window": {"start": "09:00", "end": "18:00"},
            "timezone": "America/New_York",
        },
        "pacing": {"daily_limit": 125, "mode": "even"},
        "rules": {"previously_contacted": "skip", "min_days_between": 30},
        "follow_ups": [
            {
                "after_hours": 48,
                "body": "Hi {{ first_name }}, may we still come by? Reply STOP to opt out.",
            }
        ],
    },
    "CampaignUpdate": {"pacing": {"daily_limit": 80}},
    "ClockMove": {"advance": "P14D"},
    "CloneRequest": {"name": "Foundation check, January"},
    "ConsentDecision": {
        "reason": "asked by phone",
        "source": "phone_call",
        "note": "Called on Monday; does not want texts.",
    },
    "ContactCreate": _CONTACT,
    "ContactUpdate": {"company": "Rossi Realty", "attributes": {"roof": "slate"}},
    "CustomFieldCreate": {"name": "year_built", "label": "Year built", "type": "integer"},
    "CustomFieldUpdate": {"label": "Built in"},
    "DeliveriesRetry": {"created_after": "2026-11-29T00:00:00Z", "dry_run": True},
    "DoNotContactFile": {
        "file": "phone\r\n+16175550123\r\n",
        "reason": "state list",
        "dry_run": False,
    },
    "DraftPreview": _DRAFT | {"limit": 3},
    "EraseRequest": {"reason": "asked by letter"},
    "FaultCreate": {"kind": "429", "count": 3, "retry_after_seconds": 2},
    "FlagCreate": {"flag": "office_number", "reason": "front desk of a clinic"},
    "ImportCorrection": {"mapping": {"Mobile": "phone", "Remarks": None}},
    "ImportFromProvider": {"source": "openphone", "list_name": "From OpenPhone"},
    "ImportOfFile": {
        "file": "Mobile,Owner\r\n(617) 555-0123,Ada\r\n",
        "list_name": "Owners in Quincy",
        "mapping": '{"Mobile": "phone", "Owner": "first_name"}',
        "on_duplicate": "fill",
        "dry_run": True,
    },
    "InvitationAccept": {"token": _TOKEN, "password": _PASSWORD, "name": "Olga"},
    "LineCreate": {
        "phone_number_id": "PNq7x1Zk3v",
        "number": "+16175550100",
        "name": "Main line",
        "daily_limit": 125,
    },
    "LineUpdate": {"daily_limit": 200},
    "LinkCreate": {"expires_in_seconds": 600},
    "ListCreate": {"name": "Owners in Quincy"},
    "ListUpdate": {"name": "Owners in Quincy and Milton"},
    "MediaFetchRetry": {"status": "dead"},
    "MembersAdd": {"contact_ids": [CONTACT, _SECOND_CONTACT]},
    "MergeRequest": {"primary_id": CONTACT, "duplicate_ids": [_SECOND_CONTACT]},
    "NoteCreate": {"body": "Works nights: call after four.", "pinned": True},
    "NoteUpdate": {"pinned": False},
    "OptOutMany": {
        "phones": ["(617) 555-0123", "+16175550124"],
        "reason": "asked at the door",
        "source": "in_person",
    },
    "PasswordChange": {"current_password": "a password of before", "password": _PASSWORD},
    "PasswordReset": {"token": _TOKEN, "password": _PASSWORD},
    "PasswordResetRequest": {"email": "olga@granite.example.com"},
    "PersonScript": {
        "phone": "+16175550123",
        "script": [
            {"do": "deliver", "after": "PT2S"},
            {"do": "reply", "after": "PT6H", "text": REPLY},
        ],
    },
    "PhoneValidationCreate": {"list_id": LIST},
    "PreviewRequest": {"limit": 3},
    "PropertyContactAdd": {"contact_id": CONTACT, "role": "primary"},
    "PropertyCreate": {
        "address": {"street": "12 Main Street", "city": "Quincy", "state": "MA"},
        "year_built": 1928,
        "contacts": [{"contact_id": CONTACT, "role": "primary"}],
    },
    "PropertyUpdate": {"property_type": "single family"},
    "ProviderEvent": {
        "id": "EV78473da9296247d3d87a620dc9b58621",
        "object": "event",
        "apiVersion": "v3",
        "createdAt": "2026-11-30T15:04:05.120Z",
        "type": "message.received",
        "data": {
            "object": {
                "id": "AC5c1d9be27f3a4086b1e7d2c9f0a8b364",
                "object": "message",
                "from": "+16175550123",
                "to": "+16175550100",
                "direction": "incoming",
                "body": REPLY,
                "status": "received",
                "createdAt": "2026-11-30T15:04:04.900Z",
                "phoneNumberId": "PNq7x1Zk3v",
            }
        },
    },
    "ReconciliationCreate": {"since": "2026-11-29T00:00:00Z"},
    "RefreshRequest": {"refresh_token": "crmr_p3Xb5IzSE4CQvia6WzZJIKsni56RwSV91jRb1CUIe8"},
    "ReplayRequest": {"status": "dead", "type": "message.received", "dry_run": True},
    "ReplyCreate": {"line_id": LINE, "to": "+16175550123", "body": "See you on Tuesday at four."},
    "ReviewRequest": {"decision": "approve", "contact_ids": [CONTACT]},
    "SegmentCreate": {"name": "Homeowners in Quincy", "filter": _RULES},
    "SegmentPreview": {"filter": _RULES, "limit": 5},
    "SegmentUpdate": {"name": "Owners in Quincy, old houses"},
    "SettleRequest": {"outcome": "resend"},
    "SignInForm": {"username": "olga@granite.example.com", "password": _PASSWORD}
    | {"grant_type": "password"},
    "TagRename": {"name": "house owner"},
    "TagsRequest": {"add": ["homeowner"], "filter": {"city": "Quincy"}},
    "TemplateCreate": {"name": "First text", "body": TEXT},
    "TemplateUpdate": {"body": "Hi {{ first_name }}, we are in Quincy again. Shall we come by?"},
    "TrialRequest": {"to": "+16175550101", "variant": "Short"},
    "UserInvite": {"email": "olga@granite.example.com", "name": "Olga", "role": "agent"},
    "UserUpdate": {"role": "manager"},
    "WebhookEndpointCreate": {
        "url": "https://erp.granite.example.com/hooks/crm",
        "description": "ERP",
        "event_types": ["message.received", "opt_out"],
    },
    "WebhookEndpointUpdate": {"event_types": ["message.received", "opt_out", "call.status"]},
    "WebhookHealthCheckCreate": {},
    "WebhookSecretRotate": {"grace_hours": 48},
}
"""By the name of the body's schema."""
