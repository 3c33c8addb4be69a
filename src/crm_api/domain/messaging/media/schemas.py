"""Request and response schemas of media files and their fetches from the provider."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.messaging.media.service import DEFAULT_SECONDS, LONGEST_SECONDS, ShownFetch
from crm_api.domain.messaging.models.media import FetchStatus, MediaKind


class LinkCreate(RequestModel):
    """The link to create.

    Attributes:
        expires_in_seconds: How long the link is valid, in seconds.
    """

    model_config = example(expires_in_seconds=600)

    expires_in_seconds: Annotated[int, Field(ge=10, le=LONGEST_SECONDS)] = DEFAULT_SECONDS


class LinkRead(ReadModel):
    """A link that opens one media file without credentials until it expires.

    Attributes:
        url: The URL of the link.
        expires_at: When the link expires.
    """

    model_config = example(
        url="https://crm.example.com/v1/media/01a154a9-e8a5-7845-ae3d-896a9c0fe489?expires=1795667456&signature=rxBaTdXauytZVRvpwdIA0pXOz7aEWWcHu45-IdWAG4A"
    )

    url: str
    expires_at: Instant


class MediaRead(ReadModel):
    """A picture that can be sent with a message.

    Attributes:
        id: The id for `media_ids` of a message and for `GET /v1/media/{media_id}`.
        content_type: The media type, detected from the content of the file.
        size_bytes: The size of the file in bytes.
    """

    model_config = example(id=example_id("media"), content_type="image/jpeg", size_bytes=183204)

    id: Id
    content_type: str
    size_bytes: int
    created_at: Instant


class MediaFetchRead(ReadModel):
    """The fetch (download) of one file of a message or call from the provider.

    Attributes:
        activity_id: The id of the message or call that the file belongs to.
        kind: The kind of the file: `picture`, `recording`, `voicemail` or `other`.
        url: The URL of the file at the provider.
        status: The state of the fetch.
        attempts: The number of attempts so far.
        next_attempt_at: When the next attempt may begin; without meaning after the fetch has ended.
        error_code: The stable code of the last error; null if none.
        last_error: The last error as a sentence; null if none.
        media_id: The id of the file for `GET /v1/media/{media_id}`; null until the file is stored.
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
    """The fetches (downloads of media files) to start again.

    Attributes:
        status: Only fetches in this state are started again.
        error_code: Only fetches with this error code are started again. If null, the error code
            does not matter.
    """

    model_config = example(status="dead")

    status: FetchStatus = FetchStatus.DEAD
    error_code: Annotated[str, Text(longest=100)] | None = None


class MediaFetchesRetried(ReadModel):
    """The result of starting fetches again.

    Attributes:
        retried: The number of fetches that were started again.
    """

    model_config = example(retried=3)

    retried: int


def show(items: Iterable[dict[str, Any]], fetches: Sequence[ShownFetch]) -> list[dict[str, Any]]:
    """Return the files of a message or call, each with the state of its download.

    The files in ``items`` come first. Stored files that are not in ``items`` follow, each file
    once.

    Args:
        items: The files as reported: ``[{"url": "https://…", "type": "image/jpeg"}]``. All fields
            are copied to the result.
    """
    by_url = {fetch.url: fetch for fetch in fetches}
    # A message can contain the same URL twice. Both items have the state of the one download.
    shown = [item | _state_of(by_url.get(item.get("url", ""))) for item in items]
    seen = {item["media_id"] for item in shown}
    for fetch in fetches:
        if fetch.media_id is not None and str(fetch.media_id) not in seen:
            seen.add(str(fetch.media_id))
            shown.append({"url": fetch.url} | _state_of(fetch))
    return shown


def show_call(document: dict[str, Any], fetches: Sequence[ShownFetch]) -> dict[str, Any]:
    """Return a copy of a call's data in which each file has the state of its download.

    The files of a call are its recordings and its voicemail.

    Args:
        document: The data of the call: ``{"recordings": […], "voicemail": {…}, …}``.
        fetches: The downloads of these files.
    """
    left = [fetch for fetch in fetches if fetch.kind == MediaKind.VOICEMAIL]
    taken = [fetch for fetch in fetches if fetch.kind != MediaKind.VOICEMAIL]
    shown = dict(document)
    if "recordings" in document:
        shown["recordings"] = show(document["recordings"], taken)
    if "voicemail" in document:
        voicemail = show([document["voicemail"]], left)
        # If the provider reported several URLs of the voicemail, prefer a URL whose file is stored.
        best = next((one for one in voicemail if one["media_id"] is not None), voicemail[0])
        shown["voicemail"] = document["voicemail"] | best
    return shown


def names_files(media: Sequence[object], call: dict[str, Any]) -> bool:
    """Return True if a message has files, or if a call has recordings or a voicemail."""
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
