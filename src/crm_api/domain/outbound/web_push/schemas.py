"""Requests and responses about push subscriptions."""

import binascii
from base64 import urlsafe_b64decode
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel

LONGEST_ENDPOINT = 2_000
LONGEST_KEY = 120
AUTH_BYTES = 16
_ENDPOINT = "https://push.example.com/wpush/v2/gAAAAABmYxk1"
_P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
_AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


def decode_key(text: str) -> bytes:
    """Decode base64url, with or without padding.

    Raises:
        ValueError: The text is not base64url.
    """
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _check_public_key(text: str) -> str:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode_key(text))
    except ValueError as error:
        raise PydanticCustomError(
            "push_key",
            "This is not a public key of the curve P-256 in base64url. Send the key `p256dh` "
            "exactly as the browser made it.",
        ) from error
    return text


def _check_auth(text: str) -> str:
    try:
        is_secret = len(decode_key(text)) == AUTH_BYTES
    except ValueError:
        is_secret = False
    if not is_secret:
        raise PydanticCustomError(
            "push_key",
            "This is not a secret of 16 bytes in base64url. Send the key `auth` exactly as the "
            "browser made it.",
        )
    return text


class PushKeys(RequestModel):
    """The keys of a subscription.

    Attributes:
        p256dh: The public key of the browser, in base64url.
        auth: The authentication secret of the browser, in base64url.
    """

    model_config = example(p256dh=_P256DH, auth=_AUTH)

    p256dh: Annotated[str, Text(longest=LONGEST_KEY), AfterValidator(_check_public_key)]
    auth: Annotated[str, Text(longest=LONGEST_KEY), AfterValidator(_check_auth)]


class PushSubscriptionCreate(RequestModel):
    """A subscription of a browser, as `PushSubscription.toJSON()` of the Push API returns it.

    Attributes:
        endpoint: A public `https://` URL at the push service. With the sandbox, `http://` on the
            same machine is also allowed.
        expirationTime: When the subscription ends, in milliseconds since 1970, or null. It is
            ignored.
        keys: The keys of the browser.
    """

    model_config = example(endpoint=_ENDPOINT, keys={"p256dh": _P256DH, "auth": _AUTH})

    endpoint: Annotated[
        str,
        Text(shortest=1, longest=LONGEST_ENDPOINT),
        Field(json_schema_extra={"format": "uri"}),
    ]
    expirationTime: Annotated[float | None, Field(ge=0, le=1e15)] = None  # noqa: N815 - the browser's name
    keys: PushKeys


class PushSubscriptionRead(ReadModel):
    """A browser that shows notices to the calling user.

    Attributes:
        endpoint: The address at the push service.
        last_success_at: When the push service last accepted a notice; null if it never has.
    """

    model_config = example(endpoint=_ENDPOINT)

    id: Id
    endpoint: str
    created_at: Instant
    last_success_at: Instant | None


class PushKeyRead(ReadModel):
    """The key with which a browser subscribes.

    Attributes:
        public_key: The public key of this installation, in base64url: the
            `applicationServerKey` of `pushManager.subscribe()`.
    """

    model_config = example(public_key=_P256DH)

    public_key: str
