"""What the numbering plans tell by themselves."""

import pytest

from crm_api.domain.phone_validation.offline import OfflineValidator


@pytest.mark.parametrize(
    ("phone", "line_type"),
    [
        ("+18002345678", "toll_free"),
        ("+18882345678", "toll_free"),
        ("+19002345678", "premium"),
        ("+447911123456", "mobile"),
        ("+442071838750", "landline"),
        # Of nearly every American number nobody can tell; a fictional one is in no range at all.
        ("+16172345678", "unknown"),
        ("+16175550123", "unknown"),
        ("no number", "unknown"),
    ],
)
async def test_range_tells_what_it_can(phone: str, line_type: str) -> None:
    answer = await OfflineValidator().look_up(phone)

    assert (answer.line_type, answer.carrier) == (line_type, None)
