"""A person with data in many tables, and a search for this data in the whole database."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.factories import make_campaign, make_line, make_list, make_member

from crm_api.domain.consent.models import ConsentSource, ReplyExample, hash_phone
from crm_api.domain.imports.contacts.models import (
    ContactImport,
    ContactImportChunk,
    ContactImportError,
)
from crm_api.domain.inbound.webhook_events.models import WebhookEvent
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.conversations import (
    Conversation,
    ConversationDraft,
    ConversationNote,
)
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.media import Media, MediaFetch
from crm_api.domain.messaging.models.number_failures import FailureKind, NumberFailure, ProviderStop
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus, WebhookDelivery
from crm_api.domain.people.models.contacts import Contact, ContactNote
from crm_api.domain.people.models.phone_validation import PhoneLookup
from crm_api.domain.people.models.properties import Property, PropertyContact
from crm_api.domain.people.models.tasks import Task
from crm_api.domain.sales.appointments.models import Appointment
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.settings import Settings
from crm_api.workers.people import run_erasures

PHONE = "+16175550142"
OTHER = "+16175550199"
PHONE_SPELLINGS = ("6175550142", "(617) 555-0142", "617.555.0142", "1-617-555-0142")
TRACES = ("Quillon", "Ferncliff", "quillon@example.com", "7 Larkspur Lane", "basement floods")
"""Names, addresses and message texts of the person; other people's data has none of them."""
SHA = "ab" * 32
KEY = SECRET.encode()
NewUow = Callable[[], UnitOfWork]


@dataclass
class WorkerDeps:
    """The dependencies of the worker that the job for erasures uses."""

    new_uow: NewUow
    settings: Settings
    secret: bytes = KEY
    is_stopping: bool = False
    works_for_seconds: float = 30.0


@dataclass
class PersonIds:
    """Ids of rows that belong to the person."""

    contact_id: UUID
    campaign_id: UUID
    line_id: UUID


async def make_person(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, settings: Settings
) -> PersonIds:
    """Make a person whose data is in many tables.

    The person was imported, got messages, replied, called, opted out, and has a note.
    """
    body = {
        "phone": PHONE,
        "first_name": "Quillon",
        "last_name": "Ferncliff",
        "email": "quillon@example.com",
        "company": "Ferncliff Homes",
        "address": {"street": "7 Larkspur Lane", "city": "Quincy", "state": "MA"},
        "tags": ["Ferncliff family"],
        "attributes": {"phone_2": "(617) 555-0142", "remark": "basement floods"},
    }
    made = await client.post("/v1/contacts", json=body, headers={"Idempotency-Key": "q-1"})
    contact = await session.get_one(Contact, UUID(made.json()["id"]))
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    second = await make_campaign(session, line=line, name="Winter")
    await make_list(session, contacts=[contact])
    member = await make_member(session, campaign=campaign, contact=contact, status="delivered")
    await make_member(session, campaign=second, contact=contact)
    conversation = Conversation(
        line_id=line.id,
        phone=PHONE,
        contact_id=contact.id,
        openphone_id="CN1",
        last_activity_at=NOW,
        created_at=NOW,
    )
    session.add(conversation)
    await session.flush()
    sent = _make_activity(
        conversation, contact, direction="outgoing", body="Hi Quillon", openphone_id="AC1"
    )
    received = _make_activity(
        conversation,
        contact,
        direction="incoming",
        body="My basement floods",
        openphone_id="AC2",
        media=[{"url": "https://media.example.com/1", "type": "image/jpeg"}],
    )
    call = _make_activity(
        conversation,
        contact,
        kind="call",
        direction="incoming",
        openphone_id="AC3",
        call={"external": [PHONE], "summary": ["Quillon's basement floods"]},
    )
    session.add_all([sent, received, call])
    session.add(
        SendAttempt(
            membership_id=member.id,
            campaign_id=campaign.id,
            line_id=line.id,
            activity_id=sent.id,
            phone=PHONE,
            body="Hi Quillon",
            status="delivered",
            accepted_at=NOW,
            provider_message_id="AC1",
            error_detail="to 16175550142",
            created_at=NOW,
            updated_at=NOW,
        )
    )
    session.add(
        ContactNote(
            contact_id=contact.id,
            author="key",
            body="Quillon: basement floods",
            created_at=NOW,
            updated_at=NOW,
        )
    )
    session.add(
        ConversationDraft(
            conversation_id=conversation.id, caller_id="key", body="Dear Quillon", updated_at=NOW
        )
    )
    session.add(
        ConversationNote(
            conversation_id=conversation.id,
            author="key",
            body="Quillon is angry",
            mentions=[],
            created_at=NOW,
        )
    )
    session.add(
        Task(
            title="Call Quillon",
            due_at=NOW,
            conversation_id=conversation.id,
            author="key",
            created_at=NOW,
            updated_at=NOW,
        )
    )
    session.add(
        Appointment(
            contact_id=contact.id,
            kind="assessment",
            starts_at=NOW,
            ends_at=NOW + timedelta(hours=1),
            timezone="America/New_York",
            location="7 Larkspur Lane",
            note="Quillon has a dog",
            status="booked",
            author="key",
            created_at=NOW,
            updated_at=NOW,
        )
    )
    session.add(
        PhoneLookup(phone=PHONE, line_type="mobile", source="test", checked_at=NOW, expires_at=NOW)
    )
    owned = Property(
        address_key="7 larkspur lane|quincy|ma",
        street="7 Larkspur Lane",
        attributes={"owner": "Quillon Ferncliff"},
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(owned)
    await session.flush()
    session.add(
        PropertyContact(property_id=owned.id, contact_id=contact.id, role="primary", added_at=NOW)
    )
    await _add_failures(session, line, sent)
    await _add_copies(session, contact, received, settings)
    await session.commit()
    async with new_uow() as uow:
        await consent.opt_out(
            uow,
            phone=PHONE,
            contact_id=contact.id,
            source=ConsentSource.MESSAGE,
            actor="person",
            reason="stop, says Quillon",
            evidence={"text": "basement floods, stop"},
            activity_id=received.id,
            now=NOW,
            secret=KEY,
        )
    return PersonIds(contact_id=contact.id, campaign_id=campaign.id, line_id=line.id)


def _make_activity(conversation: Conversation, contact: Contact, **values: Any) -> Activity:
    return Activity(
        id=new_id(),
        kind=values.pop("kind", "message"),
        origin="provider",
        line_id=conversation.line_id,
        conversation_id=conversation.id,
        contact_id=contact.id,
        phone=PHONE,
        status="delivered",
        occurred_at=NOW,
        created_at=NOW,
        updated_at=NOW,
        **values,
    )


async def _add_failures(session: AsyncSession, line: Line, sent: Activity) -> None:
    """Add failures of messages to the person, and a delivery whose response names the person."""
    session.add(
        NumberFailure(
            phone=PHONE,
            kind=FailureKind.STOP,
            code="21610",
            line_id=line.id,
            activity_id=sent.id,
            failed_at=NOW,
            created_at=NOW,
        )
    )
    session.add(
        ProviderStop(
            phone=PHONE,
            line_id=line.id,
            code="21610",
            message_id=sent.id,
            first_failed_at=NOW,
            last_failed_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    session.add(
        WebhookDelivery(
            endpoint_id=new_id(),
            type="contact.updated",
            happened_at=NOW,
            data={"number": PHONE},
            status=DeliveryStatus.FAILED,
            next_attempt_at=NOW,
            response_body="duplicate of quillon@example.com, +1 617-555-0142",
            last_error="the receiver knows (617) 555-0142",
            created_at=NOW,
        )
    )
    await session.flush()


async def _add_copies(
    session: AsyncSession, contact: Contact, received: Activity, settings: Settings
) -> None:
    """Add copies of the person's data: received events, imports, files."""
    for status, spelling in zip(("processed", "dead", "ignored"), PHONE_SPELLINGS, strict=False):
        session.add(make_event(status=status, spelling=spelling))
    imported = ContactImport(
        status="completed",
        byte_size=1,
        sample=[
            {"phone": PHONE, "changes": {"first_name": {"before": None, "after": "Quillon"}}},
            {"phone": OTHER, "changes": {"first_name": {"before": None, "after": "Ada"}}},
        ],
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(imported)
    await session.flush()
    session.add(
        ContactImportChunk(
            import_id=imported.id,
            start=0,
            applied_at=NOW,
            outcomes=[],
            created_ids=[],
            changed_ids=[new_id(), contact.id],
            changes=[{"old": {"company": "Ada's"}}, {"old": {"company": "Ferncliff & Sons"}}],
        )
    )
    for value in PHONE_SPELLINGS:
        session.add(
            ContactImportError(
                import_id=imported.id,
                line=7,
                column="phone",
                value=f"{value} / 555",
                code="invalid_phone",
                reason="The text contains more than one phone number.",
            )
        )
    for phone, activity_id, body in (
        (PHONE, received.id, "basement floods, not now"),
        (OTHER, new_id(), "ask my neighbor at (617) 555-0142"),
    ):
        session.add(
            ReplyExample(
                activity_id=activity_id,
                phone_hash=hash_phone(phone, KEY),
                body=body,
                previous="Hi Quillon" if phone == PHONE else "Hi Ada",
                is_sale=False,
                read_as="doubtful",
                reading={"words": "not now"},
                label="not_stop",
                decision="release",
                decided_at=NOW,
                created_at=NOW,
            )
        )
    media = Media(sha256=SHA, content_type="image/jpeg", size_bytes=4, created_at=NOW)
    session.add(media)
    await session.flush()
    session.add(
        MediaFetch(
            activity_id=received.id,
            kind="picture",
            url="https://media.example.com/1",
            status="stored",
            media_id=media.id,
            next_attempt_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    await MediaStore.from_settings(settings).put(SHA, BytesIO(b"file"), size_bytes=4)


def make_event(*, status: str = "processed", spelling: str = PHONE, **values: Any) -> WebhookEvent:
    """Make a received event with a message of the person."""
    message = {"from": spelling, "body": "My basement floods"}
    return WebhookEvent(
        provider_event_id=f"EV{new_id()}",
        scheme="legacy",
        type="message.received",
        status=status,
        next_attempt_at=NOW,
        last_error=f"no line for {spelling}" if status == "dead" else None,
        received_at=values.pop("received_at", NOW),
        payload={"type": "message.received", "data": {"object": message}},
        **values,
    )


async def erase(client: httpx.AsyncClient, person: PersonIds) -> Any:
    """Request the erasure of the person; return the response."""
    response = await client.post(
        f"/v1/contacts/{person.contact_id}/erase", json={"reason": "asked by letter"}
    )
    assert response.status_code == 202, response.text
    return response.json()


async def run_erasure_job(new_uow: NewUow, settings: Settings) -> None:
    """Run the worker's job for erasures."""
    await run_erasures({"deps": WorkerDeps(new_uow, settings)})


COLUMNS = text("""
    SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
    JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
      AND NOT (SELECT relispartition FROM pg_class WHERE oid = to_regclass(c.table_name))
    ORDER BY 1, 2
""")


async def find_traces(session: AsyncSession) -> list[str]:
    """Search every column of every table; return the values that still name the person."""
    shown: dict[str, dict[str, str]] = {}
    for table, column, kind in (await session.execute(COLUMNS)).all():
        if kind not in {"uuid", "integer", "bigint", "smallint", "boolean"}:
            value = f"encode(\"{column}\", 'escape')" if kind == "bytea" else f'"{column}"::text'
            shown.setdefault(table, {})[column] = value
    found = []
    for table, columns in shown.items():
        rows = await session.execute(text(f'SELECT {", ".join(columns.values())} FROM "{table}"'))
        found += [
            f"{table}.{column}: {cell}"
            for row in rows
            for column, cell in zip(columns, row, strict=True)
            if cell and _names_person(cell)
        ]
    return found


def _names_person(cell: str) -> bool:
    folded = cell.casefold()
    if any(trace.casefold() in folded for trace in TRACES):
        return True
    return "6175550142" in re.sub(r"\D", "", cell)


LATER = timedelta(minutes=11)
"""Time after which an erasure that waits for something is tried again."""
