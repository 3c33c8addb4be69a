# ruff: noqa: INP001, T201 - a script that prints what it does
"""An example session for integrators. It uses a service that `make up` has started.

The page `docs/tutorial/integrators.md` shows how to generate the client, create the API key and run
this script. Set CRM_API_KEY to an API key with the scopes contacts:read, contacts:write,
campaigns:read, campaigns:write, campaigns:send and webhooks:write. Set CRM_URL if the address of
the service is not http://127.0.0.1:8000.
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar
from uuid import UUID, uuid4

from crm_api_client import AuthenticatedClient
from crm_api_client.api.auth import read_caller
from crm_api_client.api.campaigns import create_campaign, start_campaign
from crm_api_client.api.contacts import (
    create_contact,
    delete_contact,
    get_contact,
    list_contacts,
    update_contact,
)
from crm_api_client.api.imports import create_import, get_import
from crm_api_client.api.lines import sync_lines
from crm_api_client.api.operations import list_alerts
from crm_api_client.api.webhook_endpoints import create_webhook_endpoint, delete_webhook_endpoint
from crm_api_client.models import (
    Audience,
    CampaignCreate,
    CampaignSchedule,
    ContactCreate,
    ContactRead,
    ContactUpdate,
    ImportOfFile,
    Pacing,
    PacingMode,
    Problem,
    Variant,
    WebhookEndpointCreate,
    WebhookEventType,
    WindowFields,
)
from crm_api_client.types import File
from standardwebhooks import Webhook, WebhookVerificationError

Answer = TypeVar("Answer")


class ProblemError(Exception):
    """An error that the service reports: ``code`` is for programs, the text is for people."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.code = problem.code
        self.problem = problem


class UnexpectedAnswerError(Exception):
    """A response with a status that the OpenAPI document does not contain."""


def unwrap(answer: Answer | Problem | None) -> Answer:
    """Return the data of a response, or raise its error.

    Raises:
        ProblemError: The service reports that it cannot do what the request asks for.
        UnexpectedAnswerError: The response does not come from the service, but for example from a
            proxy in front of it.
    """
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    if answer is None:
        raise UnexpectedAnswerError
    return answer


def contacts_of(client: AuthenticatedClient, list_id: UUID) -> Iterator[ContactRead]:
    """Yield the contacts of a list, page after page."""
    cursor: str | None = None
    while True:
        page = unwrap(list_contacts.sync(client=client, list_id=list_id, cursor=cursor, limit=2))
        yield from page.data
        cursor = page.next_cursor
        if cursor is None:
            return


def wait_for(look: Callable[[], Answer], is_over: Callable[[Answer], bool]) -> Answer:
    """Call ``look`` every half second until ``is_over`` is true for its result."""
    for _ in range(120):
        found = look()
        if is_over(found):
            return found
        time.sleep(0.5)
    raise TimeoutError


@contextmanager
def messages_of(
    client: AuthenticatedClient, *types: WebhookEventType
) -> Iterator["SimpleQueue[dict[str, Any]]"]:
    """Receive events by webhook during the block, and yield a queue of them.

    The signature of each delivery is verified.
    """
    received: SimpleQueue[dict[str, Any]] = SimpleQueue()
    secrets: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                received.put(Webhook(secrets[0]).verify(body, dict(self.headers)))
                self.send_response(204)
            except WebhookVerificationError:
                self.send_response(400)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing about a request."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        body = WebhookEndpointCreate(url=url, event_types=list(types))
        endpoint = unwrap(create_webhook_endpoint.sync(client=client, body=body))
        secrets.append(endpoint.secret)
        try:
            yield received
        finally:
            delete_webhook_endpoint.sync_detailed(endpoint.id, client=client)
            server.shutdown()


def people(client: AuthenticatedClient) -> None:
    """Create a contact, repeat the request, and change the contact.

    The Idempotency-Key prevents that the repeated request creates a second contact. The same
    request without the key is refused. A change is refused if the ETag in If-Match is old.
    """
    body = ContactCreate(phone="(617) 555-0185", first_name="Ada", tags=["tour"])
    key = str(uuid4())
    ada = unwrap(create_contact.sync(client=client, body=body, idempotency_key=key))
    again = unwrap(create_contact.sync(client=client, body=body, idempotency_key=key))
    print(f"created {ada.phone}; sent again: the same person {again.id == ada.id}")
    try:
        unwrap(create_contact.sync(client=client, body=body))
    except ProblemError as error:
        print(f"refused: {error.code}, that person {error.problem['contact_id'] == str(ada.id)}")
    seen = get_contact.sync_detailed(ada.id, client=client)
    etag = seen.headers["ETag"]
    change = ContactUpdate(company="Granite Foundations")
    changed = unwrap(update_contact.sync(ada.id, client=client, body=change, if_match=etag))
    print(f"changed: {changed.company}")
    stale = update_contact.sync(ada.id, client=client, body=change, if_match=etag)
    print(f"refused: {stale.code if isinstance(stale, Problem) else None}")
    delete_contact.sync_detailed(ada.id, client=client)


def file(client: AuthenticatedClient) -> UUID:
    """Import a file into a list, and read the list in pages."""
    rows = b"First Name,Cell\nBruno,617-555-0186\nCarmen,617-555-0187\nDaria,617-555-0188\n"
    upload = File(payload=io.BytesIO(rows), file_name="tour.csv", mime_type="text/csv")
    body = ImportOfFile(file=upload, list_name="Integrator's tour")
    begun = unwrap(create_import.sync(client=client, body=body, idempotency_key=str(uuid4())))
    done = wait_for(
        lambda: unwrap(get_import.sync(begun.id, client=client)),
        lambda found: found.status in {"completed", "failed"},
    )
    print(f"imported {done.created} of {done.rows_total}")
    list_id = UUID(str(done.list_id))
    names = sorted(str(person.first_name) for person in contacts_of(client, list_id))
    print(f"read in pages of two: {', '.join(names)}")
    return list_id


def campaign(client: AuthenticatedClient, list_id: UUID) -> None:
    """Send a campaign to a list, and wait for the event that reports its end."""
    line = unwrap(sync_lines.sync(client=client)).data[0]
    body = CampaignCreate(
        name="Integrator's tour",
        line_id=line.id,
        audience=Audience(list_id=list_id),
        variants=[
            Variant(
                name="A",
                weight=100,
                body="Hi {{ first_name }}, Granite here. Reply STOP to opt out.",
            )
        ],
        schedule=CampaignSchedule(window=WindowFields(start="00:00", end="24:00")),
        pacing=Pacing(mode=PacingMode.BURST, batch_size=50, batch_interval_minutes=1),
    )
    made = unwrap(create_campaign.sync(client=client, body=body, idempotency_key=str(uuid4())))
    with messages_of(client, WebhookEventType.CAMPAIGN_STATUS) as messages:
        print(f"started: {unwrap(start_campaign.sync(made.id, client=client)).status}")
        event: dict[str, Any] = {}
        while event.get("status") != "completed":
            event = messages.get(timeout=60)["data"]
    is_this = event["campaign_id"] == str(made.id)
    print(f"reported by webhook: {event['status']}, this campaign {is_this}")


def main() -> None:
    """Print what the API key may do, and run all steps of the example."""
    url = os.environ.get("CRM_URL", "http://127.0.0.1:8000")
    with AuthenticatedClient(base_url=url, token=os.environ["CRM_API_KEY"]) as client:
        me = unwrap(read_caller.sync(client=client))
        print(f"key {me.name}: {len(me.scopes)} scopes")
        refused = list_alerts.sync(client=client)
        print(f"refused: {refused.code if isinstance(refused, Problem) else None}")
        people(client)
        campaign(client, file(client))


if __name__ == "__main__":
    main()
