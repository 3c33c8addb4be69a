"""Links that open one file in a browser for a short while, without a header."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from crm_api.domain.media.errors import MediaLinkExpiredError, MediaLinkInvalidError

DEFAULT_SECONDS = 600
LONGEST_SECONDS = 86_400
_PURPOSE = b"media links"
"""Nothing else that this key signs can pass for a link."""


def sign(secret: bytes, *, media_id: UUID, expires: int) -> str:
    """Return the signature of a link to this file that ends at ``expires`` (Unix seconds)."""
    key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
    digest = hmac.new(key, f"{media_id}.{expires}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def make(
    secret: bytes, *, media_id: UUID, base_url: str, seconds: int, now: datetime
) -> tuple[str, datetime]:
    """Return a link, and when it ends."""
    expires = int(now.timestamp()) + seconds
    signature = sign(secret, media_id=media_id, expires=expires)
    url = f"{base_url}/v1/media/{media_id}?expires={expires}&signature={signature}"
    return url, datetime.fromtimestamp(expires, UTC)


def check(secret: bytes, *, media_id: UUID, expires: str, signature: str, now: datetime) -> None:
    """Let a good link pass.

    Args:
        expires: As it stands in the link.
        signature: As it stands in the link.

    Raises:
        MediaLinkInvalidError: It was changed, or made with another key.
        MediaLinkExpiredError: It was good, and is over.
    """
    end = int(expires) if expires.isascii() and expires.isdecimal() and len(expires) < 12 else 0  # noqa: PLR2004 - years beyond 5000 are no times of ours
    wanted = sign(secret, media_id=media_id, expires=end)
    if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
        raise MediaLinkInvalidError(
            "The link was changed, or is not one of this service; ask for a new one with "
            f"POST /v1/media/{media_id}/link."
        )
    if now >= datetime.fromtimestamp(0, UTC) + timedelta(seconds=end):
        raise MediaLinkExpiredError(
            f"The link is over; ask for a new one with POST /v1/media/{media_id}/link."
        )
