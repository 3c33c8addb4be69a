"""Create and check signed links that open one file for a limited time without credentials."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from crm_api.domain.messaging.media.errors import MediaLinkExpiredError, MediaLinkInvalidError

DEFAULT_SECONDS = 600
"""How many seconds a link is valid if the request gives no duration."""
LONGEST_SECONDS = 86_400
_PURPOSE = b"media links"
"""Links are signed with a key that is derived from the secret and this text. So a signature that
was made with the secret for another purpose is not valid for a link."""


def sign_media_link(secret: bytes, *, media_id: UUID, expires: int) -> str:
    """Return the signature for a link to this file that expires at ``expires`` (Unix seconds)."""
    key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
    digest = hmac.new(key, f"{media_id}.{expires}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def make_media_link(
    secret: bytes, *, media_id: UUID, base_url: str, seconds: int, now: datetime
) -> tuple[str, datetime]:
    """Return the URL of a signed link to a file, and the instant at which the link expires.

    Args:
        seconds: How long the link is valid, from ``now``.
    """
    expires = int(now.timestamp()) + seconds
    signature = sign_media_link(secret, media_id=media_id, expires=expires)
    url = f"{base_url}/v1/media/{media_id}?expires={expires}&signature={signature}"
    return url, datetime.fromtimestamp(expires, UTC)


def check_media_link(
    secret: bytes, *, media_id: UUID, expires: str, signature: str, now: datetime
) -> None:
    """Check the signature and the expiry of a link to a file.

    Args:
        expires: The unchecked value from the link.
        signature: The unchecked value from the link.

    Raises:
        MediaLinkInvalidError: The link was changed or was signed with another key.
        MediaLinkExpiredError: The link has expired.
    """
    end = int(expires) if expires.isascii() and expires.isdecimal() and len(expires) < 12 else 0  # noqa: PLR2004 - no link expires after the year 5000
    wanted = sign_media_link(secret, media_id=media_id, expires=end)
    if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
        raise MediaLinkInvalidError(str(media_id))
    if now >= datetime.fromtimestamp(0, UTC) + timedelta(seconds=end):
        raise MediaLinkExpiredError(str(media_id))
