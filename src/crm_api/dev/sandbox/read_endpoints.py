"""Simulate the provider's endpoints that read messages, lines, conversations, calls, contacts."""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from crm_api.dev.sandbox.message_store import StoredMessage
from crm_api.dev.sandbox.wire_format import (
    DATED_PAGE,
    BadRequestError,
    conversation_form,
    json_answer,
    message_form,
    not_found,
    phone_number_form,
    read_instant,
    read_limit,
    read_recipients,
    read_token,
    write_token,
)
from crm_api.dev.sandbox.workspace import Workspace

PAGE = 100
CONTACTS_PAGE = 50


async def list_messages(workspace: Workspace, request: Request) -> Response:
    """``GET /v1/messages``: list the messages of one conversation, newest first."""
    query = request.query_params
    line_id, participants = query.get("phoneNumberId"), query.getlist("participants")
    if not line_id or not participants:
        raise BadRequestError("`phoneNumberId` and `participants` are required")
    limit = read_limit(query.get("maxResults"), PAGE)
    after, before = read_instant(query, "createdAfter"), read_instant(query, "createdBefore")
    thread = (line_id, tuple(sorted(participants)))
    found = [
        message
        for message in workspace.store.newest_first(
            before_seq=read_token(query.get("pageToken")), thread=thread
        )
        if _is_listed(workspace, message)
        and (after is None or message.created_at >= after)
        and (before is None or message.created_at <= before)
    ]
    page = found[:limit]
    token = write_token(page[-1].seq) if len(found) > limit else None
    return json_answer(
        {
            "data": [message_form(message) for message in page],
            "totalItems": len(page),
            "nextPageToken": token,
        }
    )


async def list_workspace_messages(workspace: Workspace, request: Request) -> Response:
    """``GET /messages`` of API version 2026-03-30: list messages of all lines, newest first."""
    query = request.query_params
    limit = read_limit(query.get("limit", "10"), DATED_PAGE)
    after, before = read_instant(query, "createdAt[gt]"), read_instant(query, "createdAt[lt]")
    wanted = {
        "phone_number_id": query.get("phoneNumberId"),
        "direction": query.get("direction"),
        "status": query.get("status"),
        "user_id": query.get("userId"),
        "sender": query.get("from"),
    }
    filters = {name: value for name, value in wanted.items() if value is not None}
    recipients = set(read_recipients(request))
    found: list[StoredMessage] = []
    for message in workspace.store.newest_first(before_seq=read_token(query.get("after"))):
        if (
            (after is None or message.created_at > after)
            and (before is None or message.created_at < before)
            and all(getattr(message, name) == value for name, value in filters.items())
            and (not recipients or recipients <= set(message.to))
            and _is_listed(workspace, message)
        ):
            found.append(message)
            if len(found) > limit:
                break
    page = found[:limit]
    cursor = write_token(page[-1].seq) if len(found) > limit else None
    return json_answer({"data": [message_form(message) for message in page], "nextCursor": cursor})


async def get_message(workspace: Workspace, request: Request) -> Response:
    """Return one message by its id, even if lists do not contain it yet."""
    message = workspace.store.by_id.get(request.path_params["id"])
    if message is None:
        return not_found("0200404")
    return json_answer({"data": message_form(message)})


async def list_phone_numbers(workspace: Workspace, request: Request) -> Response:  # noqa: ARG001
    """List the phone lines of the sandbox."""
    return json_answer({"data": [phone_number_form(line) for line in workspace.config.lines]})


def _is_listed(workspace: Workspace, message: StoredMessage) -> bool:
    delay = workspace.config.list_delay_seconds
    if delay <= 0 or message.direction == "incoming":
        return True
    return workspace.config.clock() - message.created_at >= timedelta(seconds=delay)


async def list_conversations(workspace: Workspace, request: Request) -> Response:
    """``GET /v1/conversations``: list conversations, the one with the newest activity first."""
    query = request.query_params
    limit, position = read_limit(query.get("maxResults"), PAGE), read_token(query.get("pageToken"))
    after, before = read_instant(query, "updatedAfter"), read_instant(query, "updatedBefore")
    page = []
    for found in reversed(workspace.store.conversations.values()):
        if position is not None and found.seq >= position:
            continue
        if (after is None or found.last_at >= after) and (
            before is None or found.last_at <= before
        ):
            page.append(found)
            if len(page) > limit:
                break
    token = write_token(page[limit - 1].seq) if len(page) > limit else None
    data = [conversation_form(found) for found in page[:limit]]
    return json_answer({"data": data, "totalItems": len(data), "nextPageToken": token})


async def list_calls(workspace: Workspace, request: Request) -> Response:
    """``GET /v1/calls``: list the calls between a line and one person, newest first."""
    query = request.query_params
    line_id, participants = query.get("phoneNumberId"), query.getlist("participants")
    if not line_id or len(participants) != 1:
        raise BadRequestError("`phoneNumberId` and one value in `participants` are required")
    limit, position = read_limit(query.get("maxResults"), PAGE), read_token(query.get("pageToken"))
    after, before = read_instant(query, "createdAfter"), read_instant(query, "createdBefore")
    held = workspace.calls_between(line_id, participants[0])
    found = [
        (seq, call)
        for seq, call in reversed(list(enumerate(held)))
        if (position is None or seq < position)
        and (after is None or call.started_at >= after)
        and (before is None or call.started_at <= before)
    ]
    token = write_token(found[limit - 1][0]) if len(found) > limit else None
    data = [call.shown() for _, call in found[:limit]]
    return json_answer({"data": data, "totalItems": len(data), "nextPageToken": token})


async def get_call(workspace: Workspace, request: Request) -> Response:
    """Return one call by its id."""
    call = workspace.calls.get(request.path_params["id"])
    return not_found("0100404") if call is None else json_answer({"data": call.shown()})


async def list_recordings(workspace: Workspace, request: Request) -> Response:
    """List the recordings of a call; the list may be empty."""
    call = workspace.calls.get(request.path_params["id"])
    if call is None:
        return not_found("0900404")
    shown = [{**one, "status": "completed"} for one in call.recordings()]
    return json_answer({"data": shown})


async def get_voicemail(workspace: Workspace, request: Request) -> Response:
    """Return the voicemail of a call; 404 if the call has no voicemail."""
    call = workspace.calls.get(request.path_params["id"])
    voicemail = None if call is None else call.voicemail()
    return not_found("1200404") if voicemail is None else json_answer({"data": voicemail})


async def get_summary(workspace: Workspace, request: Request) -> Response:
    """Return the summary of a call; 404 if the call has no summary."""
    call = workspace.calls.get(request.path_params["id"])
    summary = None if call is None else call.summary()
    if summary is None:
        return not_found("0500404")
    return json_answer({"data": {**summary, "status": "completed"}})


async def get_transcript(workspace: Workspace, request: Request) -> Response:
    """Return the transcript of a call; 404 if the call has no transcript."""
    call = workspace.calls.get(request.path_params["id"])
    transcript = None if call is None else call.transcript()
    if transcript is None:
        return not_found("0600404")
    return json_answer({"data": {**transcript, "status": "completed"}})


async def list_contacts(workspace: Workspace, request: Request) -> Response:
    """``GET /v1/contacts``: list contacts, oldest first."""
    query = request.query_params
    limit = read_limit(query.get("maxResults"), CONTACTS_PAGE)
    start = read_token(query.get("pageToken")) or 0
    held = workspace.address_book.contacts
    page = held[start : start + limit]
    token = write_token(start + limit) if len(held) > start + limit else None
    return json_answer({"data": page, "totalItems": len(page), "nextPageToken": token})


async def list_fields(workspace: Workspace, request: Request) -> Response:  # noqa: ARG001
    """``GET /v1/contact-custom-fields``: list the custom fields."""
    return json_answer({"data": workspace.address_book.fields})


ROUTES = (
    ("/v1/messages", "GET", list_messages),
    ("/v1/messages/{id}", "GET", get_message),
    ("/v1/phone-numbers", "GET", list_phone_numbers),
    ("/messages", "GET", list_workspace_messages),
    ("/v1/conversations", "GET", list_conversations),
    ("/v1/calls", "GET", list_calls),
    ("/v1/calls/{id}", "GET", get_call),
    ("/v1/call-recordings/{id}", "GET", list_recordings),
    ("/v1/call-voicemails/{id}", "GET", get_voicemail),
    ("/v1/call-summaries/{id}", "GET", get_summary),
    ("/v1/call-transcripts/{id}", "GET", get_transcript),
    ("/v1/contacts", "GET", list_contacts),
    ("/v1/contact-custom-fields", "GET", list_fields),
)
