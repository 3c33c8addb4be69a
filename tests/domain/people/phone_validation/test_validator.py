"""Line types that can be read from a number alone, by the numbering plans."""

import pytest

from crm_api.domain.people.phone_validation.validator import read_line_type


@pytest.mark.parametrize(
    ("phone", "line_type"),
    [
        ("+18002345678", "toll_free"),
        ("+18882345678", "toll_free"),
        ("+19002345678", "premium"),
        ("+447911123456", "mobile"),
        ("+442071838750", "landline"),
        # Most American numbers do not show their line type. A fictional number is in no number
        # range.
        ("+16172345678", "unknown"),
        ("+16175550123", "unknown"),
        ("no number", "unknown"),
    ],
)
def test_line_type_is_read_from_the_number_range(phone: str, line_type: str) -> None:
    answer = read_line_type(phone)

    assert (answer.line_type, answer.carrier) == (line_type, None)
