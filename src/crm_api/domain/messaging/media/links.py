"""Make and check links that open one file for a limited time, without an authorization header."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from crm_api.domain.messaging.media.errors import MediaLinkExpiredError, MediaLinkInvalidError

DEFAULT_SECONDS = 600
LONGEST_SECONDS = 86_400
_PURPOSE = b"media links"
"""Derives a key for links only, so that no other signature is valid for a link."""


def sign_media_link(secret: bytes, *, media_id: UUID, expires: int) -> str:
    """Return the signature of a link to this file that expires at ``expires`` (Unix seconds)."""
    key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
    digest = hmac.new(key, f"{media_id}.{expires}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def make_media_link(
    secret: bytes, *, media_id: UUID, base_url: str, seconds: int, now: datetime
) -> tuple[str, datetime]:
    """Return a link and the instant at which it expires.

    Args:
        seconds: How long the link is valid.
    """
    expires = int(now.timestamp()) + seconds
    signature = sign_media_link(secret, media_id=media_id, expires=expires)
    url = f"{base_url}/v1/media/{media_id}?expires={expires}&signature={signature}"
    return url, datetime.fromtimestamp(expires, UTC)


def check_media_link(
    secret: bytes, *, media_id: UUID, expires: str, signature: str, now: datetime
) -> None:
    """Check the signature and expiry of a link.

    Args:
        expires: The value in the link, not checked yet.
        signature: The value in the link.

    Raises:
        MediaLinkInvalidError: The link was changed, or made with another key.
        MediaLinkExpiredError: The link has expired.
    """
    end = int(expires) if expires.isascii() and expires.isdecimal() and len(expires) < 12 else 0  # noqa: PLR2004 - no link expires after the year 5000
    wanted = sign_media_link(secret, media_id=media_id, expires=end)
    if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
        raise MediaLinkInvalidError(
            "The link was changed, or is not one of this service; ask for a new one with "
            f"POST /v1/media/{media_id}/link."
        )
    if now >= datetime.fromtimestamp(0, UTC) + timedelta(seconds=end):
        raise MediaLinkExpiredError(
            f"The link is over; ask for a new one with POST /v1/media/{media_id}/link."
        )
