"""The workspace's address book at the sandbox: contacts, page by page, and their custom fields."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_api.sandbox.requesting import (
    json_answer,
    read_limit,
    read_token,
    write_token,
)
from crm_api.sandbox.shapes import stamp
from crm_api.sandbox.world import World

PAGE = 50
Handler = Callable[[World, Request], Awaitable[Response]]


def listed() -> list[tuple[str, str, Handler]]:
    """Return path, method and handler of each."""
    return [
        ("/v1/contacts", "GET", list_contacts),
        ("/v1/contact-custom-fields", "GET", list_fields),
    ]


async def list_contacts(world: World, request: Request) -> Response:
    """List contacts, the oldest first: ``GET /v1/contacts``."""
    query = request.query_params
    limit, start = (
        read_limit(query.get("maxResults"), PAGE),
        read_token(query.get("pageToken")) or 0,
    )
    held = world.address_book.contacts
    page = held[start : start + limit]
    token = write_token(start + limit) if len(held) > start + limit else None
    return json_answer({"data": page, "totalItems": len(page), "nextPageToken": token})


async def list_fields(world: World, request: Request) -> Response:  # noqa: ARG001
    """List the custom fields: ``GET /v1/contact-custom-fields``."""
    return json_answer({"data": world.address_book.fields})


def write(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """Take ``{fields?: [{name, key, type}], contacts?: [{firstName, phoneNumbers: […], …}]}``."""
    book = world.address_book
    book.define(body.get("fields", []))
    book.add(body.get("contacts", []), at=stamp(world.config.clock()))
    return {"contacts": len(book.contacts), "fields": len(book.fields)}
