"""What the sandbox tells beside texts: conversations, calls and what belongs to them."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from crm_api.sandbox import shapes
from crm_api.sandbox.requesting import (
    BadRequestError,
    json_answer,
    not_found,
    read_instant,
    read_limit,
    read_token,
    write_token,
)
from crm_api.sandbox.world import World

PAGE = 100

Handler = Callable[[World, Request], Awaitable[Response]]


def listed() -> list[tuple[str, str, Handler]]:
    """Return path, method and handler of each."""
    return [
        ("/v1/conversations", "GET", list_conversations),
        ("/v1/calls", "GET", list_calls),
        ("/v1/calls/{id}", "GET", get_call),
        ("/v1/call-recordings/{id}", "GET", list_recordings),
        ("/v1/call-voicemails/{id}", "GET", get_voicemail),
        ("/v1/call-summaries/{id}", "GET", get_summary),
        ("/v1/call-transcripts/{id}", "GET", get_transcript),
    ]


async def list_conversations(world: World, request: Request) -> Response:
    """List conversations, the last active first: ``GET /v1/conversations``."""
    query = request.query_params
    limit, place = read_limit(query.get("maxResults"), PAGE), read_token(query.get("pageToken"))
    after, before = read_instant(query, "updatedAfter"), read_instant(query, "updatedBefore")
    page = []
    for talk in reversed(world.store.talks.values()):
        if place is not None and talk.seq >= place:
            continue
        if (after is None or talk.last_at >= after) and (before is None or talk.last_at <= before):
            page.append(talk)
            if len(page) > limit:
                break
    token = write_token(page[limit - 1].seq) if len(page) > limit else None
    data = [shapes.conversation(talk) for talk in page[:limit]]
    return json_answer({"data": data, "totalItems": len(data), "nextPageToken": token})


async def list_calls(world: World, request: Request) -> Response:
    """List the calls between a line and one person, newest first: ``GET /v1/calls``."""
    query = request.query_params
    line_id, participants = query.get("phoneNumberId"), query.getlist("participants")
    if not line_id or len(participants) != 1:
        raise BadRequestError("phoneNumberId and one participant are required")
    limit, place = read_limit(query.get("maxResults"), PAGE), read_token(query.get("pageToken"))
    after, before = read_instant(query, "createdAfter"), read_instant(query, "createdBefore")
    held = world.calls_between(line_id, participants[0])
    found = [
        (seq, call)
        for seq, call in reversed(list(enumerate(held)))
        if (place is None or seq < place)
        and (after is None or call.started_at >= after)
        and (before is None or call.started_at <= before)
    ]
    token = write_token(found[limit - 1][0]) if len(found) > limit else None
    data = [call.shown() for _, call in found[:limit]]
    return json_answer({"data": data, "totalItems": len(data), "nextPageToken": token})


async def get_call(world: World, request: Request) -> Response:
    """Read one call."""
    call = world.calls.get(request.path_params["id"])
    return not_found("0100404") if call is None else json_answer({"data": call.shown()})


async def list_recordings(world: World, request: Request) -> Response:
    """List a call's recordings; a call without any has none, and that is no fault."""
    call = world.calls.get(request.path_params["id"])
    if call is None:
        return not_found("0900404")
    shown = [{**one, "status": "completed"} for one in call.recordings()]
    return json_answer({"data": shown})


async def get_voicemail(world: World, request: Request) -> Response:
    """Read what a caller left."""
    call = world.calls.get(request.path_params["id"])
    left = None if call is None else call.voicemail()
    return not_found("1200404") if left is None else json_answer({"data": left})


async def get_summary(world: World, request: Request) -> Response:
    """Read a call's summary."""
    call = world.calls.get(request.path_params["id"])
    words = None if call is None else call.summary()
    if words is None:
        return not_found("0500404")
    return json_answer({"data": {**words, "status": "completed"}})


async def get_transcript(world: World, request: Request) -> Response:
    """Read what was said in a call."""
    call = world.calls.get(request.path_params["id"])
    words = None if call is None else call.transcript()
    if words is None:
        return not_found("0600404")
    return json_answer({"data": {**words, "status": "completed"}})
