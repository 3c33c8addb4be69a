"""Create some data of every kind, so that generated requests find existing resources."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import requests
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member, number

from crm_api.domain.alerts.models import Alert
from crm_api.domain.inbound.webhook_events.models import WebhookEvent
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.media import Media, MediaFetch
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform import clock

PEOPLE = 6

Pools = dict[str, list[str]]
"""For each name of a parameter, a list of possible values."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A request that creates a resource, and the parameter that takes the resource's id."""

    parameter: str
    path: str
    body: dict[str, Any]


async def insert_rows(session: AsyncSession) -> Pools:
    """Insert rows, such as data of the provider and running campaigns; return their ids.

    No request can create most of these rows.
    """
    now = clock.now()
    line = await make_line(session, now=now)
    people = [
        await make_contact(session, phone=number(place), tags=["vip"], now=now)
        for place in range(PEOPLE)
    ]
    homes = await make_list(session, contacts=people, now=now)
    campaigns = [
        await make_campaign(session, line=line, status=status, name=status, now=now)
        for status in ("draft", "running", "paused", "completed")
    ]
    for person in people:
        await make_member(session, campaign=campaigns[1], contact=person, now=now)
    conversation = Conversation(
        line_id=line.id,
        phone=people[0].phone,
        contact_id=people[0].id,
        last_activity_at=now,
        created_at=now,
    )
    session.add(conversation)
    await session.flush()
    message, call = (_activity(kind, conversation, now=now) for kind in ("message", "call"))
    event = WebhookEvent(
        provider_event_id="EVseed1",
        scheme="legacy",
        type="message.received",
        status="dead",
        next_attempt_at=now,
        received_at=now,
        payload={},
    )
    alert = Alert(
        kind="webhook_health",
        subject="provider",
        detail="No event came.",
        first_seen_at=now,
        last_seen_at=now,
        opened_at=now,
    )
    media = Media(sha256="0" * 64, content_type="image/png", size_bytes=1, created_at=now)
    session.add_all([message, call, event, alert, media])
    await session.flush()
    fetch = MediaFetch(
        activity_id=message.id,
        kind="picture",
        url="https://media.example.com/1.png",
        status="dead",
        next_attempt_at=now + timedelta(hours=1),
        created_at=now,
        updated_at=now,
    )
    session.add(fetch)
    await session.commit()
    return {
        "contact_id": [str(one.id) for one in people],
        "phone": [one.phone for one in people],
        "tag": ["vip"],
        "flag": ["do_not_contact", "opted_out", "friend"],
        "line_id": [str(line.id)],
        "list_id": [str(homes.id)],
        "campaign_id": [str(one.id) for one in campaigns],
        "conversation_id": [str(conversation.id)],
        "message_id": [str(message.id)],
        "call_id": [str(call.id)],
        "event_id": [str(event.id)],
        "alert_id": [str(alert.id)],
        "media_id": [str(media.id)],
        "fetch_id": [str(fetch.id)],
    }


def _activity(kind: str, conversation: Conversation, *, now: Any) -> Activity:
    return Activity(
        kind=kind,
        direction="incoming",
        origin="provider",
        line_id=conversation.line_id,
        conversation_id=conversation.id,
        contact_id=conversation.contact_id,
        phone=conversation.phone,
        openphone_id=f"ACseed{kind}",
        body="Please call me" if kind == "message" else None,
        status="received" if kind == "message" else "completed",
        occurred_at=now,
        created_at=now,
        updated_at=now,
    )


def create_by_requests(client: requests.Session, pools: Pools) -> None:
    """Create all other data through the API, and add the ids in the responses to ``pools``."""
    person = pools["contact_id"][0]
    for made in (
        Made(
            parameter="segment_id",
            path="/v1/segments",
            body={"name": "VIP", "filter": {"field": "tags", "op": "contains", "value": "vip"}},
        ),
        Made(
            parameter="template_id",
            path="/v1/templates",
            body={"name": "Hello", "body": "Hi {{ first_name }}"},
        ),
        Made(
            parameter="field_id",
            path="/v1/custom-fields",
            body={"name": "roof", "label": "Roof", "type": "text"},
        ),
        Made(
            parameter="property_id",
            path="/v1/properties",
            body={
                "address": {
                    "street": "1 Main St",
                    "city": "Boston",
                    "state": "MA",
                    "postal_code": "02108",
                }
            },
        ),
        Made(parameter="note_id", path=f"/v1/contacts/{person}/notes", body={"body": "Has a dog"}),
        Made(
            parameter="user_id",
            path="/v1/users",
            body={"email": "agent@firm.example.com", "name": "Agent", "role": "agent"},
        ),
        Made(
            parameter="key_id",
            path="/v1/api-keys",
            body={"name": "reader", "scopes": ["contacts:read"]},
        ),
        Made(parameter="run_id", path="/v1/reconciliation-runs", body={}),
        Made(parameter="run_id", path="/v1/phone-validations", body={"contact_ids": [person]}),
        Made(parameter="import_id", path="/v1/imports", body={"source": "openphone"}),
    ):
        answer = client.post(made.path, json=made.body)
        assert answer.ok, f"{made.path}: {answer.text}"
        pools.setdefault(made.parameter, []).append(answer.json()["id"])
    upload = client.post(
        "/v1/do-not-contact-uploads", files={"file": ("a.csv", b"phone\n6175550199\n")}
    )
    pools["upload_id"] = [upload.json()["id"]]
