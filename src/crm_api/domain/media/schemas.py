"""Media and fetches, in and out."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from crm_api.domain.media.links import DEFAULT_SECONDS, LONGEST_SECONDS
from crm_api.domain.media.models import FetchStatus, MediaKind
from crm_api.domain.media.queries import ShownFetch
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel


class LinkCreate(RequestModel):
    """How long the link should be good."""

    expires_in_seconds: Annotated[int, Field(ge=10, le=LONGEST_SECONDS)] = DEFAULT_SECONDS


class LinkRead(ReadModel):
    """A link that needs no header."""

    url: str
    expires_at: Instant


class MediaFetchRead(ReadModel):
    """One address of a message or call, and what came of it."""

    id: Id
    activity_id: Id
    kind: str
    url: str
    status: FetchStatus
    attempts: int
    next_attempt_at: Instant
    error_code: str | None
    last_error: str | None
    media_id: Id | None
    created_at: Instant
    updated_at: Instant


class RetryAll(RequestModel):
    """Which fetches should begin anew."""

    status: FetchStatus = FetchStatus.DEAD
    error_code: Annotated[str, Field(max_length=100)] | None = None


class RetryRead(ReadModel):
    """How many fetches begin anew."""

    retried: int


def show(items: Iterable[dict[str, Any]], fetches: Sequence[ShownFetch]) -> list[dict[str, Any]]:
    """Add to each item of an event what is known of its file.

    A file that came by another address of the same message, because the provider gave a new one,
    stands at the end, unless it is shown already.

    Args:
        items: ``[{"url": "https://…", "type": "image/jpeg"}]``, with whatever else they hold.
        fetches: Those of the message or call.
    """
    by_url = {fetch.url: fetch for fetch in fetches}
    shown = [item | _told(by_url.pop(item.get("url", ""), None)) for item in items]
    seen = {item["media_id"] for item in shown}
    for fetch in by_url.values():
        if fetch.media_id is not None and str(fetch.media_id) not in seen:
            seen.add(str(fetch.media_id))
            shown.append({"url": fetch.url} | _told(fetch))
    return shown


def show_call(document: dict[str, Any], fetches: Sequence[ShownFetch]) -> dict[str, Any]:
    """Add what is known of their files to a call's recordings and its voicemail.

    Args:
        document: What is known of the call: ``{"recordings": […], "voicemail": {…}, …}``.
        fetches: Those of the call.
    """
    left = [fetch for fetch in fetches if fetch.kind == MediaKind.VOICEMAIL]
    taken = [fetch for fetch in fetches if fetch.kind != MediaKind.VOICEMAIL]
    shown = dict(document)
    if "recordings" in document:
        shown["recordings"] = show(document["recordings"], taken)
    if "voicemail" in document:
        voicemail = show([document["voicemail"]], left)
        # Of several addresses the one whose file is here.
        best = next((one for one in voicemail if one["media_id"] is not None), voicemail[0])
        shown["voicemail"] = document["voicemail"] | best
    return shown


def names_files(media: Sequence[object], call: dict[str, Any]) -> bool:
    """True when a message or call holds something whose files may have been noted."""
    return bool(media or "recordings" in call or "voicemail" in call)


def _told(fetch: ShownFetch | None) -> dict[str, Any]:
    if fetch is None:
        fields = ("media_id", "status", "content_type", "size_bytes", "error_code", "error")
        return dict.fromkeys(fields)
    return {
        "media_id": None if fetch.media_id is None else str(fetch.media_id),
        "status": fetch.status,
        "content_type": fetch.content_type,
        "size_bytes": fetch.size_bytes,
        "error_code": fetch.error_code,
        "error": fetch.last_error,
    }
