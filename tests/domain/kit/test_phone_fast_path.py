"""The fast path for plain numbers gives the same results as the slow path and ``phonenumbers``."""

import os
import random
import re

import phonenumbers
import pytest

from crm_api.domain.kit import phone
from crm_api.domain.kit.phone import InvalidPhoneError, is_plain, parse_phone

NUMBERS = 2_000
FORMATS = (
    *("{0}{1}{2}", "({0}) {1}-{2}", "{0}-{1}-{2}", "{0}.{1}.{2}", "{0} {1} {2}", " {0}{1}{2} "),
    *("+1{0}{1}{2}", "1{0}{1}{2}", "1-{0}-{1}-{2}", "+1 ({0}) {1}-{2}", "1 {0} {1} {2}"),
)


def read(text: str) -> str:
    """Return the number, or the reason why the text is refused."""
    try:
        return parse_phone(text)
    except InvalidPhoneError as error:
        return error.detail


def test_plain_numbers_are_read_as_by_the_slow_path_and_by_phonenumbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**31)))
    print(f"SEED={seed}")  # noqa: T201 - repeats a failure
    draw = random.Random(seed)  # noqa: S311 - repeatable, not a secret
    texts = [
        draw.choice(FORMATS).format(
            *(f"{draw.randrange(10**digits):0{digits}d}" for digits in (3, 3, 4))
        )
        for _ in range(NUMBERS)
    ]
    plain = sum(map(is_plain, texts))
    fast = [read(text) for text in texts]
    monkeypatch.setattr(phone, "_PLAIN", re.compile("(?!)"))
    slow = [read(text) for text in texts]

    assert fast == slow
    assert plain > NUMBERS / 2
    for text, number in zip(texts, fast, strict=True):
        if number.startswith("+"):
            parsed = phonenumbers.parse(text, "US")
            assert number == phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
