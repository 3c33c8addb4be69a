import asyncio
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from tests.conftest import NOW

from crm_api.domain.inbound.webhook_setup.keyring import FRESH_SECONDS, GAP_SECONDS, KeyRing
from crm_api.domain.inbound.webhook_setup.keys import SavedKey
from crm_api.domain.provider.openphone.errors import MismatchedSignatureError, StaleSignatureError
from crm_api.domain.provider.openphone.signature import SignatureScheme, sign_legacy, sign_standard

BODY = b'{"id": "EV1"}'


def key(name: str) -> str:
    return "whsec_" + b64encode(f"a signing key: {name}".encode()).decode()


def signed(secret: str, *, at: datetime = NOW) -> dict[str, str]:
    return sign_standard(secret, BODY, delivery_id="msg_1", at=at)


@dataclass
class Store:
    """Saved keys, and how often they were read."""

    keys: dict[str, datetime | None] = field(default_factory=dict)
    reads: int = 0
    is_away: bool = False

    async def load(self) -> list[SavedKey]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError
        return [
            SavedKey(
                webhook_id=name, scheme=SignatureScheme.STANDARD, key=key(name), retire_at=retire_at
            )
            for name, retire_at in self.keys.items()
        ]


class Hand:
    """A monotonic clock set by the test."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def ring(store: Store, *given: str, hand: Hand | None = None) -> KeyRing:
    return KeyRing(given, load=store.load, monotonic=hand or Hand())


async def test_given_and_saved_keys_are_accepted_side_by_side() -> None:
    keys = ring(Store({"saved": None}), key("given"))

    for name in ("given", "saved"):
        assert (await keys.verify(signed(key(name)), BODY, now=NOW)).delivery_id == "msg_1"


async def test_legacy_scheme_finds_saved_keys_too() -> None:
    bare = key("saved").removeprefix("whsec_")
    store = Store()

    async def load() -> list[SavedKey]:
        found = await store.load()
        legacy = SavedKey(webhook_id="WH1", scheme=SignatureScheme.LEGACY, key=bare, retire_at=None)
        return [*found, legacy]

    keys = KeyRing((), load=load)

    verified = await keys.verify(sign_legacy(bare, BODY, at=NOW), BODY, now=NOW)

    assert verified.scheme is SignatureScheme.LEGACY


async def test_without_any_key_nothing_is_proved() -> None:
    keys = ring(Store())

    with pytest.raises(MismatchedSignatureError):
        await keys.verify(signed(key("any")), BODY, now=NOW)


async def test_key_that_was_saved_meanwhile_is_found_at_once() -> None:
    hand, store = Hand(), Store()
    keys = ring(store, key("given"), hand=hand)
    await keys.verify(signed(key("given")), BODY, now=NOW)
    hand.seconds += GAP_SECONDS
    store.keys["new"] = None

    await keys.verify(signed(key("new")), BODY, now=NOW)

    assert store.reads == 2


async def test_forged_signatures_read_the_database_once_in_a_while() -> None:
    hand, store = Hand(), Store({"saved": None})
    keys = ring(store, hand=hand)

    async def forge(number: int) -> None:
        with pytest.raises(MismatchedSignatureError):
            await keys.verify(signed(key(f"forged {number}")), BODY, now=NOW)

    await asyncio.gather(*(forge(number) for number in range(500)))
    at_once = store.reads
    for number in range(100):
        hand.seconds += GAP_SECONDS / 10
        await forge(number)

    assert at_once == 1
    assert store.reads <= 1 + 11


async def test_all_who_wait_for_one_look_are_served_by_it() -> None:
    hand, store = Hand(), Store()
    keys = ring(store, key("given"), hand=hand)
    await keys.verify(signed(key("given")), BODY, now=NOW)
    hand.seconds += GAP_SECONDS
    store.keys["new"] = None

    await asyncio.gather(*(keys.verify(signed(key("new")), BODY, now=NOW) for _ in range(50)))

    assert store.reads == 2


async def test_retired_key_ends_at_its_instant_without_a_look() -> None:
    until = NOW + timedelta(hours=28)
    store = Store({"old": until, "new": None})
    keys = ring(store)
    await keys.verify(signed(key("old")), BODY, now=NOW)
    late = until + timedelta(seconds=1)

    with pytest.raises(MismatchedSignatureError):
        await keys.verify(signed(key("old"), at=late), BODY, now=late)

    await keys.verify(signed(key("new"), at=late), BODY, now=late)
    assert store.reads == 1


async def test_keys_are_read_again_after_a_while_though_all_matches() -> None:
    hand, store = Hand(), Store({"old": None})
    keys = ring(store, hand=hand)
    await keys.verify(signed(key("old")), BODY, now=NOW)
    del store.keys["old"]
    hand.seconds += FRESH_SECONDS

    with pytest.raises(MismatchedSignatureError):
        await keys.verify(signed(key("old")), BODY, now=NOW)


async def test_database_that_is_away_leaves_the_keys_that_are_known() -> None:
    hand, store = Hand(), Store({"saved": None})
    keys = ring(store, key("given"), hand=hand)
    await keys.verify(signed(key("saved")), BODY, now=NOW)
    store.is_away = True
    hand.seconds += FRESH_SECONDS

    for name in ("saved", "given"):
        await keys.verify(signed(key(name)), BODY, now=NOW)

    assert store.reads == 2


async def test_stale_signature_is_no_reason_to_look() -> None:
    hand, store = Hand(), Store({"saved": None})
    keys = ring(store, hand=hand)
    await keys.verify(signed(key("saved")), BODY, now=NOW)
    hand.seconds += GAP_SECONDS

    with pytest.raises(StaleSignatureError):
        await keys.verify(signed(key("saved"), at=NOW - timedelta(hours=1)), BODY, now=NOW)

    assert store.reads == 1
