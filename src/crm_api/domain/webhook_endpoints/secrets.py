"""Signing secrets: made, sealed, and used as the Standard Webhooks specification says.

Source: Standard Webhooks specification, "Signature scheme", read 2026-11-26.
"""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from standardwebhooks import Webhook

from crm_api.domain.sealing import seal, unseal

PREFIX = "whsec_"
SECRET_BYTES = 32
"""Of the 24 to 64 that the specification recommends."""


def make_secret() -> str:
    """Return a new secret."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def seal_secret(text: str, *, endpoint_id: UUID, key: bytes) -> bytes:
    """Seal a secret under the secret key, for this endpoint alone."""
    return seal(text, secret=key, about=_about(endpoint_id))


@lru_cache(maxsize=256)
def signer(sealed: bytes, *, endpoint_id: UUID, key: bytes) -> Webhook:
    """Return what signs with a sealed secret.

    Raises:
        UnsealError: It was sealed under another secret key.
    """
    return Webhook(unseal(sealed, secret=key, about=_about(endpoint_id)))


def sign(
    signers: Sequence[Webhook], *, message_id: str, body: str, now: datetime
) -> dict[str, str]:
    """Return the headers of a message; it is signed by each, the current secret first.

    Args:
        now: In UTC; receivers refuse what is more than five minutes off.
    """
    signatures = (one.sign(msg_id=message_id, timestamp=now, data=body) for one in signers)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _about(endpoint_id: UUID) -> str:
    return f"webhook endpoint {endpoint_id}"
