"""The six words that the provider answers itself, written down here once more."""

import pytest

from crm_api.domain.consent.words import Kind, read


@pytest.mark.parametrize("word", ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"])
@pytest.mark.parametrize("written", ["{}", " {} ", "{}\n"])
def test_each_of_the_six_opts_out_and_is_confirmed_by_the_provider(word: str, written: str) -> None:
    for text in (written.format(word), written.format(word.lower())):
        reading = read(text)

        assert (reading.kind, reading.provider_confirms) == (Kind.OPT_OUT, True)


@pytest.mark.parametrize("word", ["REVOKE", "OPTOUT", "OPT OUT", "REMOVE", "STOP ALL"])
def test_other_words_opt_out_and_are_confirmed_by_us(word: str) -> None:
    reading = read(word)

    assert (reading.kind, reading.provider_confirms) == (Kind.OPT_OUT, False)
