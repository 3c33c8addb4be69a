"""Schemas of media and fetches, in and out."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.messaging.media.links import DEFAULT_SECONDS, LONGEST_SECONDS
from crm_api.domain.messaging.media.service import ShownFetch
from crm_api.domain.messaging.models.media import FetchStatus, MediaKind


class LinkCreate(RequestModel):
    """How long the link is valid.

    Attributes:
        expires_in_seconds: How long the link is valid, in seconds.
    """

    model_config = example(expires_in_seconds=600)

    expires_in_seconds: Annotated[int, Field(ge=10, le=LONGEST_SECONDS)] = DEFAULT_SECONDS


class LinkRead(ReadModel):
    """A link that opens without an authorization header.

    Attributes:
        url: The address.
    """

    model_config = example(
        url="https://crm.example.com/v1/media/01a154a9-e8a5-7845-ae3d-896a9c0fe489?expires=1795667456&signature=rxBaTdXauytZVRvpwdIA0pXOz7aEWWcHu45-IdWAG4A"
    )

    url: str
    expires_at: Instant


class MediaFetchRead(ReadModel):
    """One address of a message or call, and the state of its fetch.

    Attributes:
        activity_id: The id of the message or call that it refers to; null without one.
        kind: The kind.
        url: The address.
        attempts: The number of attempts so far.
        next_attempt_at: The time of the next attempt.
        media_id: The id of the stored file; null until it is stored.
    """

    model_config = example(
        activity_id=example_id("message"),
        kind="picture",
        url="https://media.example.com/1.jpg",
        status="stored",
    )

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


class MediaFetchRetry(RequestModel):
    """Which fetches to start again."""

    model_config = example(status="dead")

    status: FetchStatus = FetchStatus.DEAD
    error_code: Annotated[str, Text(longest=100)] | None = None


class MediaFetchesRetried(ReadModel):
    """How many fetches were started again.

    Attributes:
        retried: The number of items that are tried again.
    """

    model_config = example(retried=3)

    retried: int


def show(items: Iterable[dict[str, Any]], fetches: Sequence[ShownFetch]) -> list[dict[str, Any]]:
    """Add the state of the file to each item of an event.

    The provider may give the same file a new address. Stored files of such addresses are appended,
    unless they are in the list already.

    Args:
        items: ``[{"url": "https://…", "type": "image/jpeg"}]``; other members are kept.
        fetches: The fetches of the message or call.
    """
    by_url = {fetch.url: fetch for fetch in fetches}
    shown = [item | _state_of(by_url.pop(item.get("url", ""), None)) for item in items]
    seen = {item["media_id"] for item in shown}
    for fetch in by_url.values():
        if fetch.media_id is not None and str(fetch.media_id) not in seen:
            seen.add(str(fetch.media_id))
            shown.append({"url": fetch.url} | _state_of(fetch))
    return shown


def show_call(document: dict[str, Any], fetches: Sequence[ShownFetch]) -> dict[str, Any]:
    """Add the state of the files to a call's recordings and its voicemail.

    Args:
        document: The call: ``{"recordings": […], "voicemail": {…}, …}``.
        fetches: The fetches of the call.
    """
    left = [fetch for fetch in fetches if fetch.kind == MediaKind.VOICEMAIL]
    taken = [fetch for fetch in fetches if fetch.kind != MediaKind.VOICEMAIL]
    shown = dict(document)
    if "recordings" in document:
        shown["recordings"] = show(document["recordings"], taken)
    if "voicemail" in document:
        voicemail = show([document["voicemail"]], left)
        # If there are several addresses, show one whose file is stored.
        best = next((one for one in voicemail if one["media_id"] is not None), voicemail[0])
        shown["voicemail"] = document["voicemail"] | best
    return shown


def names_files(media: Sequence[object], call: dict[str, Any]) -> bool:
    """Return True if a message or call may have fetches."""
    return bool(media or "recordings" in call or "voicemail" in call)


def _state_of(fetch: ShownFetch | None) -> dict[str, Any]:
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
