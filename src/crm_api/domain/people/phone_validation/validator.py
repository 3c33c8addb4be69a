"""Validators look up the line type of a number; the offline one uses only the numbering plans."""

from dataclasses import dataclass
from typing import Protocol

import phonenumbers
from phonenumbers import PhoneNumberType

from crm_api.domain.people.models.phone_validation import LineType


@dataclass(frozen=True, kw_only=True)
class LineTypeAnswer:
    """A validator's answer about a number; ``unknown`` if it does not know the line type."""

    line_type: LineType
    carrier: str | None = None


class Validator(Protocol):
    """Looks up line types.

    Attributes:
        source: The validator's name, stored with each result.
    """

    source: str

    async def look_up(self, phone: str) -> LineTypeAnswer:
        """Return the line type of a number in E.164.

        Raises:
            PhoneLookupBusyError: The validator is unavailable; a later attempt may succeed.
            PhoneLookupRefusedError: It refuses every look-up until a person corrects the settings.
            BudgetSpentError: No look-up is left today.
        """


# In the United States and Canada a number does not show whether it is mobile, and it can be ported
# between mobile and landline: the numbering plan says "fixed line or mobile".
_LINE_TYPES = {
    PhoneNumberType.MOBILE: LineType.MOBILE,
    PhoneNumberType.FIXED_LINE: LineType.LANDLINE,
    PhoneNumberType.VOIP: LineType.VOIP,
    PhoneNumberType.TOLL_FREE: LineType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: LineType.PREMIUM,
}


_UNKNOWN = LineTypeAnswer(line_type=LineType.UNKNOWN)


class OfflineValidator:
    """Knows toll-free and premium numbers, some VoIP ranges, and the plans of other countries."""

    source = "offline"

    async def look_up(self, phone: str) -> LineTypeAnswer:
        """Return the line type of the number's range; ``unknown`` for most American numbers."""
        try:
            number = phonenumbers.parse(phone)
        except phonenumbers.NumberParseException:
            return _UNKNOWN
        known = _LINE_TYPES.get(phonenumbers.number_type(number))
        return _UNKNOWN if known is None else LineTypeAnswer(line_type=known)
