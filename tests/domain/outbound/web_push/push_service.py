"""A push service on loopback, and a browser that decrypts its pushes as the standards require."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()


def encode(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass
class Browser:
    """A browser with the keys of its subscription to pushes."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(CURVE))
    auth: bytes = b"sixteen bytes..."

    def keys(self) -> dict[str, str]:
        return {"p256dh": encode(point_of(self.key.public_key())), "auth": encode(self.auth)}

    def decrypt(self, body: bytes) -> bytes:
        """Decrypt a push that has one record (RFC 8188, section 2, and RFC 8291, section 3)."""
        salt, record_size, length = body[:16], int.from_bytes(body[16:20]), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(sealed) <= record_size
        shared = self.key.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender)
        )
        both = point_of(self.key.public_key()) + sender
        secret = _derive(shared, salt=self.auth, info=b"WebPush: info\0" + both, length=32)
        key = _derive(secret, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
        nonce = _derive(secret, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
        text = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert text[-1:] == b"\x02"
        return text[:-1]


def _derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


@dataclass(frozen=True)
class ReceivedPush:
    """One push, as the service received it."""

    path: str
    headers: dict[str, str]
    body: bytes

    def claims(self, public_key: str) -> dict[str, Any]:
        """Verify the signature (RFC 8292), and return the claims that it signs."""
        kind, _, rest = self.headers["authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert (kind, parts["k"].rstrip("=")) == ("vapid", public_key)
        head, claims, signature = parts["t"].split(".")
        assert json.loads(decode(head)) == {"typ": "JWT", "alg": "ES256"}
        raw = decode(signature)
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, decode(public_key)).verify(
            encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])),
            f"{head}.{claims}".encode(),
            ec.ECDSA(SHA256()),
        )
        found: dict[str, Any] = json.loads(decode(claims))
        return found


@dataclass
class PushService:
    """A push service on loopback, which stores the pushes that it receives.

    Attributes:
        answers: For each path, the statuses of the next responses; all later responses have 201.
    """

    port: int = 0
    pushes: list[ReceivedPush] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def subscription(self, browser: Browser, path: str = "/push/1") -> dict[str, Any]:
        """Return the subscription that a browser sends, with its member ``expirationTime``."""
        return {
            "endpoint": f"{self.origin}{path}",
            "expirationTime": None,
            "keys": browser.keys(),
        }

    def sent_to(self, path: str = "/push/1") -> list[ReceivedPush]:
        return [one for one in self.pushes if one.path == path]

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.pushes.append(ReceivedPush(path=request.path, headers=headers, body=body))
        statuses = self.answers.get(request.path)
        return web.Response(status=statuses.pop(0) if statuses else 201)


@asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """Run a push service on loopback until the block ends."""
    service = PushService()
    app = web.Application()
    app.router.add_post("/{path:.*}", service.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        await runner.cleanup()
