"""What the mails to users say."""

from dataclasses import dataclass
from urllib.parse import urlencode

from crm_api.domain.accounts.models import User


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who writes, and where links lead.

    Attributes:
        name: Whose system it is.
        api_url: Where this service is reached.
        app_url: Where the frontend is; None when there is none, then a mail names the API.
    """

    name: str
    api_url: str
    app_url: str | None


def invitation(user: User, token: str, sender: Sender) -> tuple[str, str]:
    """Return subject and text of an invitation."""
    way = _way(sender, "accept-invitation", "/v1/auth/invitations/accept", token)
    text = (
        f"Hello {user.name},\n\nyou are invited to {sender.name} as {user.role}. To choose a "
        f"password, within seven days:\n\n{way}\n"
    )
    return f"{sender.name}: you are invited", text


def password_reset(user: User, token: str, sender: Sender) -> tuple[str, str]:
    """Return subject and text of a mail that lets a password be replaced."""
    way = _way(sender, "reset-password", "/v1/auth/password-reset/confirm", token)
    text = (
        f"Hello {user.name},\n\nsomebody asked for a new password of yours at {sender.name}. To "
        f"choose one, within an hour:\n\n{way}\n\nIf it was not you, nothing has to be done.\n"
    )
    return f"{sender.name}: a new password", text


def _way(sender: Sender, page: str, path: str, token: str) -> str:
    if sender.app_url is not None:
        return f"{sender.app_url.rstrip('/')}/{page}?{urlencode({'token': token})}"
    return f'POST {sender.api_url}{path}\n{{"token": "{token}", "password": "..."}}'
