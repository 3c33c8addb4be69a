"""Encrypt a message for one browser, and sign the request to its push service.

Sources: RFC 8030 (push), RFC 8188 and 8291 (encryption), RFC 8292 (VAPID), read 2026-11-29.
"""

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parseaddr
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yarl import URL

from crm_api.domain.outbound.web_push.schemas import decode_key

MOST_BYTES = 3_000
"""The largest payload in bytes. A push service accepts 4,096 bytes after the encryption, which adds
103 bytes. The remaining bytes are room for the padding of older services."""
SIGNED_FOR = timedelta(hours=12)
"""How long a signature is valid; the standard allows 24 hours."""
_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the group of P-256. Source: SEC 2, section 2.4.2."""
_SCALAR_BYTES = 48
"""Number of bytes from which the private key is derived: 16 more than the key has, to avoid modulo
bias."""


@dataclass(frozen=True, kw_only=True)
class PushTarget:
    """A browser: the address at its push service, and its keys in base64url."""

    endpoint: str
    p256dh: str
    auth: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PushRequest:
    """An encrypted message and the headers of its request."""

    body: bytes
    headers: dict[str, str]


@lru_cache(maxsize=4)
def vapid_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key that identifies this installation to push services.

    It is derived from the root secret, which does not change when ``CRM_SECRET_KEY`` is replaced.
    So the subscriptions stay valid, and all processes have the same key without storing it.
    """
    derived = HKDF(
        algorithm=SHA256(), length=_SCALAR_BYTES, salt=None, info=b"crm-api web push key"
    ).derive(bytes(secret))
    return ec.derive_private_key(int.from_bytes(derived) % (_ORDER - 1) + 1, _CURVE)


def public_push_key(secret: bytes) -> str:
    """Return the public key with which browsers subscribe, in base64url without padding."""
    point = (
        vapid_key(secret).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    return urlsafe_b64encode(point).rstrip(b"=").decode()


def build_push_request(
    target: PushTarget,
    payload: bytes,
    *,
    topic: str,
    lasts: timedelta,
    contact: str,
    secret: bytes,
    now: datetime,
) -> PushRequest:
    """Encrypt a payload for a browser, and sign the request with our key.

    Args:
        topic: At most 32 letters and digits. If the push service still has an undelivered push with
            the same topic, this push replaces it.
        lasts: How long the push service keeps the message for an unconnected device.
        contact: The operator's e-mail address, with or without a name.
        secret: The root secret: the first secret key of the service.
        now: The real time, even if the sandbox clock was moved.

    Raises:
        ValueError: The payload is too long, or a value of the browser is not valid.
    """
    # These modules are imported here, because only a worker that sends a push needs them.
    import http_ece  # noqa: PLC0415
    from py_vapid import Vapid02, VapidException  # noqa: PLC0415

    if len(payload) > MOST_BYTES:
        raise ValueError(f"the payload has {len(payload)} bytes; the most is {MOST_BYTES}")
    try:
        body: bytes = http_ece.encrypt(
            payload,
            private_key=ec.generate_private_key(_CURVE),
            dh=decode_key(target.p256dh),
            auth_secret=decode_key(target.auth),
            version="aes128gcm",
        )
        claims = {
            "aud": str(URL(target.endpoint).origin()),
            "exp": int((now + SIGNED_FOR).timestamp()),
            "sub": f"mailto:{parseaddr(contact)[1]}",
        }
        signed: dict[str, str] = Vapid02(private_key=vapid_key(secret)).sign(claims)
    except (http_ece.ECEException, VapidException) as error:
        raise ValueError(str(error)) from error
    return PushRequest(
        body=body,
        headers={
            "authorization": signed["Authorization"],
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(int(lasts.total_seconds())),
            "topic": topic,
            "urgency": "high",
            "user-agent": "crm-api-push",
        },
    )
