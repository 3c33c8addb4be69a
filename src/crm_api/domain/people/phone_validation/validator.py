"""The interface ``Validator``, which finds line types, and a check that works offline."""

from dataclasses import dataclass
from typing import Protocol

import phonenumbers
from phonenumbers import PhoneNumberType

from crm_api.domain.people.models.phone_validation import LineType


@dataclass(frozen=True, kw_only=True)
class LineTypeAnswer:
    """The line type of a phone number; ``unknown`` if the validator cannot find the line type."""

    line_type: LineType
    carrier: str | None = None


class Validator(Protocol):
    """Finds the line types of phone numbers.

    Attributes:
        source: The validator's name, stored with each result.
    """

    source: str

    async def look_up(self, phone: str) -> LineTypeAnswer:
        """Return the line type of a phone number in E.164.

        Raises:
            PhoneLookupBusyError: The validator is unavailable; a later attempt may succeed.
            PhoneLookupRefusedError: Every look-up is refused until the settings are corrected.
            BudgetSpentError: All look-ups of today are used.
        """


# In the United States and Canada, the digits of a phone number do not show whether it is a mobile
# number. A number can also be moved from a mobile line to a landline and back. For such numbers,
# the library returns "fixed line or mobile".
_LINE_TYPES = {
    PhoneNumberType.MOBILE: LineType.MOBILE,
    PhoneNumberType.FIXED_LINE: LineType.LANDLINE,
    PhoneNumberType.VOIP: LineType.VOIP,
    PhoneNumberType.TOLL_FREE: LineType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: LineType.PREMIUM,
}


_UNKNOWN = LineTypeAnswer(line_type=LineType.UNKNOWN)


OFFLINE_SOURCE = "offline"
"""The name that is stored with each line type that ``read_line_type`` returned."""


def read_line_type(phone: str) -> LineTypeAnswer:
    """Return the line type that can be read from the first digits of a number; send no request.

    The line type is known for toll-free, premium and some VoIP numbers. It is ``unknown`` for most
    US and Canadian phone numbers.
    """
    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return _UNKNOWN
    known = _LINE_TYPES.get(phonenumbers.number_type(number))
    return _UNKNOWN if known is None else LineTypeAnswer(line_type=known)
