"""Verify the signatures of the provider's webhooks.

A signature is an HMAC-SHA256 of the raw body. There are two schemes:

- Legacy: the header ``openphone-signature: hmac;1;<milliseconds>;<base64>[,…]`` signs
  ``<milliseconds>.<body>``.
- Standard Webhooks, since 2026-03-30: the header ``webhook-signature: v1,<base64> [v1,…]`` signs
  ``<webhook-id>.<webhook-timestamp>.<body>``. The timestamp is in seconds.

Source: OpenPhone support, "How to use webhooks", and Quo, "Webhooks quickstart", read 2026-11-24.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from crm_api.domain.provider.openphone.errors import (
    MalformedSignatureError,
    MismatchedSignatureError,
    MissingSignatureError,
    SignatureError,
    StaleSignatureError,
)

LEGACY_HEADER = "openphone-signature"
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

AHEAD_SECONDS = 300
"""Maximum number of seconds by which a signature may be dated in the future, in both signature
schemes."""
STANDARD_PAST_SECONDS = 300
"""Maximum age of a signature in the 2026-03-30 scheme."""
LEGACY_PAST_SECONDS = 3 * 24 * 3600
"""Maximum age of a legacy signature. The provider retries a delivery for three days, and a retry
may keep the first timestamp. Old signatures are safe, because duplicate events are recognised."""
_MAX_TIMESTAMP_DIGITS = 16
_MILLISECONDS_FROM = 100_000_000_000
"""A timestamp of at least this value is in milliseconds; as seconds, it would be in year 5138."""
_LEGACY_FIELDS = 4


class SignatureScheme(StrEnum):
    """The provider's two webhook systems; each has its own signature scheme."""

    LEGACY = "legacy"
    STANDARD = "2026-03-30"


@dataclass(frozen=True)
class Verified:
    """Facts about a webhook whose signature is valid.

    Attributes:
        delivery_id: The header ``webhook-id``, which is the same on every retry; None in the
            legacy scheme.
    """

    scheme: SignatureScheme
    delivery_id: str | None


class Verifier:
    """Verifies signatures with several keys; a signature with one of these keys is valid.

    Several keys are valid at the same time during a rotation. A key with the prefix ``whsec_`` is
    tried only in the scheme Standard Webhooks. A key without this prefix is tried in the legacy
    scheme too.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        """Decode the keys.

        Raises:
            ValueError: There is no key, a key is not base64, or a key is shorter than 8 bytes.
        """
        if not secrets:
            raise ValueError("at least one signing key is required")
        self._standard_keys = tuple(decode_key(secret) for secret in secrets)
        self._legacy_keys = tuple(
            decode_key(secret) for secret in secrets if not secret.startswith("whsec_")
        )

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Verified:
        """Verify the signature of one webhook; its headers show which scheme is used.

        Args:
            headers: A case-insensitive mapping, or lower-case names.
            body: The raw bytes of the request.

        Raises:
            MissingSignatureError: The request has no signature header of either scheme.
            MalformedSignatureError: A signature header cannot be parsed.
            MismatchedSignatureError: None of the keys gives this signature.
            StaleSignatureError: The signature is correct, but its time is too old or in the future.
        """
        listed = headers.get(SIGNATURE_HEADER)
        if listed:
            return self._verify_standard(headers, listed, body, now.timestamp())
        legacy = headers.get(LEGACY_HEADER)
        if legacy:
            return self._verify_legacy(legacy, body, now.timestamp())
        raise MissingSignatureError(
            f"The request has no webhook signature. Send the header `{LEGACY_HEADER}`, or the "
            f"headers `{ID_HEADER}`, `{TIMESTAMP_HEADER}` and `{SIGNATURE_HEADER}`."
        )

    def _verify_standard(
        self, headers: Mapping[str, str], listed: str, body: bytes, now: float
    ) -> Verified:
        delivery_id = headers.get(ID_HEADER)
        timestamp = headers.get(TIMESTAMP_HEADER)
        if not delivery_id or not timestamp:
            raise MissingSignatureError(
                f"The header `{ID_HEADER}` or `{TIMESTAMP_HEADER}` is missing. Send both headers "
                f"together with `{SIGNATURE_HEADER}`."
            )
        signed_at = _read_timestamp(timestamp)
        candidates = [entry[3:].encode() for entry in listed.split(" ") if entry.startswith("v1,")]
        if not candidates:
            raise MalformedSignatureError(
                f"The header `{SIGNATURE_HEADER}` has no entry that begins with `v1,`. Send a "
                "signature of version v1."
            )
        signed = f"{delivery_id}.{timestamp}.".encode() + body
        if not _any_matches(self._standard_keys, signed, candidates):
            raise MismatchedSignatureError
        _check_window(signed_at, now, past=STANDARD_PAST_SECONDS)
        return Verified(SignatureScheme.STANDARD, delivery_id)

    def _verify_legacy(self, header: str, body: bytes, now: float) -> Verified:
        failure: SignatureError | None = None
        for timestamp, digest in _legacy_entries(header):
            signed = timestamp.encode() + b"." + body
            if not _any_matches(self._legacy_keys, signed, [digest.encode()]):
                continue
            signed_at = _read_timestamp(timestamp)
            try:
                _check_window(signed_at, now, past=LEGACY_PAST_SECONDS)
            except StaleSignatureError as error:
                failure = error
                continue
            return Verified(SignatureScheme.LEGACY, None)
        raise failure or MismatchedSignatureError()


def sign_legacy(secret: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """Return the headers that sign ``body`` in the legacy scheme."""
    timestamp = str(int(at.timestamp() * 1000))
    digest = _digest(decode_key(secret), timestamp.encode() + b"." + body)
    return {LEGACY_HEADER: f"hmac;1;{timestamp};{digest.decode()}"}


def sign_standard(secret: str, body: bytes, *, delivery_id: str, at: datetime) -> dict[str, str]:
    """Return the signature headers of a webhook with this body, for API version 2026-03-30."""
    timestamp = str(int(at.timestamp()))
    digest = _digest(decode_key(secret), f"{delivery_id}.{timestamp}.".encode() + body)
    return {
        ID_HEADER: delivery_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"v1,{digest.decode()}",
    }


def decode_key(secret: str) -> bytes:
    """Decode a signing key from base64, with or without the prefix ``whsec_``.

    Raises:
        ValueError: The key is not base64, or is shorter than 8 bytes.
    """
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except Base64Error as error:
        raise ValueError("a signing key is not base64") from error
    if len(key) < 8:  # noqa: PLR2004 - a shorter key could be guessed
        raise ValueError("a signing key is too short")
    return key


def _digest(key: bytes, signed: bytes) -> bytes:
    return b64encode(hmac.digest(key, signed, "sha256"))


def _any_matches(keys: Sequence[bytes], signed: bytes, candidates: Sequence[bytes]) -> bool:
    found = False
    for key in keys:
        expected = _digest(key, signed)
        for candidate in candidates:
            # Compare all signatures and do not stop at the first match. So the duration does not
            # reveal whether there is a match.
            found |= hmac.compare_digest(expected, candidate)
    return found


def _legacy_entries(header: str) -> Iterator[tuple[str, str]]:
    """Yield the timestamp and the digest of each well-formed entry of a legacy header.

    Raises:
        MalformedSignatureError: No entry is well-formed.
    """
    readable = False
    for entry in header.split(","):
        fields = entry.strip().split(";")
        if len(fields) != _LEGACY_FIELDS or fields[:2] != ["hmac", "1"]:
            continue
        if not _is_number(fields[2]):
            continue
        readable = True
        yield fields[2], fields[3]
    if not readable:
        raise MalformedSignatureError(
            f"The header `{LEGACY_HEADER}` is not in the form `hmac;1;<milliseconds>;<base64>`. "
            "Send it in this form."
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_TIMESTAMP_DIGITS


def _read_timestamp(text: str) -> float:
    if not _is_number(text):
        raise MalformedSignatureError(
            "The timestamp of the signature is not a whole number. Send a Unix time."
        )
    value = int(text)
    return value / 1000 if value >= _MILLISECONDS_FROM else float(value)


def _check_window(signed_at: float, now: float, *, past: int) -> None:
    if now - signed_at > past:
        raise StaleSignatureError
    if signed_at - now > AHEAD_SECONDS:
        raise StaleSignatureError(
            "The signature is dated in the future. Correct the clock of the sender."
        )
