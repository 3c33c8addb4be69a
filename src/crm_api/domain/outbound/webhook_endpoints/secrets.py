"""Create, encrypt and use the signing secrets of endpoints, as Standard Webhooks specifies.

Source: Standard Webhooks specification, "Signature scheme", read 2026-11-26.
"""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from standardwebhooks import Webhook

from crm_api.platform.encryption import seal, unseal

PREFIX = "whsec_"
SECRET_BYTES = 32
"""Length of a secret in bytes; the specification recommends 24 to 64."""


def make_secret() -> str:
    """Return a new random secret: ``whsec_``, followed by random bytes in base64."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def seal_secret(text: str, *, endpoint_id: UUID, key: bytes) -> bytes:
    """Encrypt a secret with ``key``, so that it can be decrypted only for this endpoint."""
    return seal(text, secret=key, about=_about(endpoint_id))


@lru_cache(maxsize=256)
def signer(sealed: bytes, *, endpoint_id: UUID, key: bytes) -> Webhook:
    """Decrypt a secret and return a signer that uses it.

    Raises:
        UnsealError: The secret was encrypted with another key or for another endpoint.
    """
    return Webhook(unseal(sealed, secret=key, about=_about(endpoint_id)))


def sign(
    signers: Sequence[Webhook], *, message_id: str, body: str, now: datetime
) -> dict[str, str]:
    """Return the signature headers of a delivery; the signatures are in the order of ``signers``.

    Args:
        signers: One signer for each secret. The signer for the current secret comes first.
        body: The exact body that is sent.
        now: The time in UTC. Receivers refuse a time that is wrong by more than five minutes.
    """
    signatures = (one.sign(msg_id=message_id, timestamp=now, data=body) for one in signers)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _about(endpoint_id: UUID) -> str:
    return f"webhook endpoint {endpoint_id}"
