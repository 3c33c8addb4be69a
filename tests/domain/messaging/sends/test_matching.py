"""Two bodies match if a person would read the same words in both bodies."""

import pytest

from crm_api.domain.messaging.sends.matching import is_same_text

TEXT = 'Hi Ada, it\'s Granite - "free" check. Reply STOP'


@pytest.mark.parametrize(
    "other",
    [
        TEXT,
        TEXT.replace("'", "\u2019"),
        TEXT.replace('"free"', "\u201cfree\u201d"),
        TEXT.replace(" - ", " \u2013 "),
        TEXT.replace(" ", "\u00a0"),
        TEXT.replace(" ", "  "),
        f" {TEXT}\n",
        TEXT.replace("fi", "\ufb01"),
    ],
)
def test_body_that_the_provider_re_encoded_matches(other: str) -> None:
    assert is_same_text(TEXT, other)


@pytest.mark.parametrize("other", ["", TEXT.lower(), TEXT.replace("Ada", "Eve"), TEXT + "."])
def test_different_body_does_not_match(other: str) -> None:
    assert not is_same_text(TEXT, other)
