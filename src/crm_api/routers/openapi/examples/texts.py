"""Answers that are no JSON: tables, figures."""

from crm_api.routers.openapi.examples.ids import CAMPAIGN, CONTACT, LINE, example_id
from crm_api.routers.openapi.examples.values import REPLY

_CSV = "text/csv"


def _table(row: dict[str, str]) -> str:
    """Write one row under its header."""
    cells = [f'"{value}"' if "," in value else value for value in row.values()]
    return f"{','.join(row)}\r\n{','.join(cells)}\r\n"


_ERRORS = _table(
    {"line": "17", "column": "Mobile", "value": "555-01", "reason": "This is no phone number."}
)
_PROOF = _table(
    {
        "entry_id": "1204",
        "occurred_at": "2026-11-30T15:04:05.000Z",
        "stored_at": "2026-11-30T15:04:06.000Z",
        "action": "opt_out",
        "source": "message",
        "actor": "person",
        "reason": "STOP",
        "note": "",
        "text_shown": "",
        "evidence": "{'text': 'STOP please'}",
        "message": "STOP please",
        "wording_digest": "ed7fe8eb03a349e799c96a7ba5cd7cc10dc821d68731adbbe6b595dbc48171a1",
        "position": "1204",
        "link_digest": "636d41fedaafd0477d12396aa9b731c9699b679a3303d3f4ef66ed5d6e1cd254",
        "verified": "yes",
    }
)
_FIGURES = (
    "# HELP crm_webhook_events Received events that are not applied, by status.\n"
    "# TYPE crm_webhook_events gauge\n"
    'crm_webhook_events{status="pending"} 3.0\n'
)
TEXTS = {
    ("list_contacts", _CSV): _table(
        {
            "id": CONTACT,
            "phone": "+16175550123",
            "first_name": "Ada",
            "last_name": "Rossi",
            "email": "ada.rossi@example.com",
            "company": "Rossi Realty",
            "street": "12 Main Street",
            "city": "Quincy",
            "state": "MA",
            "postal_code": "02169",
            "country": "US",
            "timezone": "America/New_York",
            "tags": "homeowner",
            "lists": "Owners in Quincy",
            "opted_out": "false",
            "opted_out_at": "",
            "opt_out_reason": "",
            "opt_out_hold": "false",
            "do_not_contact": "false",
            "flags": "",
            "source": "import",
            "created_at": "2026-11-24T16:20:00.000Z",
            "updated_at": "2026-11-30T14:05:12.000Z",
            "attributes.year_built": "1928",
        }
    ),
    ("list_recipients", _CSV): _table(
        {
            "id": example_id("recipient"),
            "contact_id": CONTACT,
            "phone": "+16175550123",
            "status": "delivered",
            "variant": "Short",
            "step": "0",
            "attempts": "1",
            "skip_reason": "",
            "error_code": "",
            "provider_message_id": "ACf3b9c27d41e8452c9b6a7d0e5f183c64",
            "sent_at": "2026-11-30T14:05:12.000Z",
            "delivered_at": "2026-11-30T14:05:15.000Z",
            "replied_at": "",
            "opted_out_at": "",
        }
    ),
    ("list_messages", _CSV): _table(
        {
            "id": example_id("message"),
            "conversation_id": example_id("conversation"),
            "line_id": LINE,
            "contact_id": CONTACT,
            "campaign_id": CAMPAIGN,
            "direction": "incoming",
            "origin": "provider",
            "phone": "+16175550123",
            "body": REPLY,
            "status": "received",
            "error_code": "",
            "provider_message_id": "AC5c1d9be27f3a4086b1e7d2c9f0a8b364",
            "occurred_at": "2026-11-30T15:04:05.000Z",
            "created_at": "2026-11-30T15:04:06.000Z",
        }
    ),
    ("get_import_errors", _CSV): _ERRORS,
    ("get_upload_errors", _CSV): _ERRORS,
    ("get_proof_by_phone", _CSV): _PROOF,
    ("get_proof_of_contact", _CSV): _PROOF,
    ("read_metrics", "text/plain"): _FIGURES,
    ("read_metrics", "application/openmetrics-text"): f"{_FIGURES}# EOF\n",
}
"""By operation and media type."""
