"""Convert US and Canadian phone numbers from any usual format to E.164."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import NoReturn

import phonenumbers

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError

_PLAIN = re.compile(
    r"\s*(?:\+?1[-. ]?)?\(?([2-9][0-9]{2})\)?[-. ]?([2-9][0-9]{2})[-. ]?([0-9]{4})\s*"
)
"""Pattern of the most frequent formats of phone numbers. Slower code parses all other formats."""

_OTHER_COUNTRIES = frozenset(
    str(code)
    for code in (
        *(242, 246, 264, 268, 284, 345, 441, 473, 649, 658, 664),
        *(721, 758, 767, 784, 809, 829, 849, 868, 869, 876),
    )
)
"""Area codes under +1 that belong neither to the US (with its territories) nor to Canada, but to
the Caribbean and Bermuda. The list was written from general knowledge. It was not compared with a
published list."""

_LABEL = re.compile(
    r"^(?:tel|telephone|phone|ph|mobile|mob|cell|cellular|text|sms|home|work|office|direct|main"
    r"|m|c|p|t|h|w|o|d)(?:\s*(?:no|number|#))?\s*(?:[.:#=]|(?=[\s+(0-9]))\s*",
    re.IGNORECASE,
)
_EXTENSION = re.compile(
    r"[\s,;]*(?:\b(?:ext(?:ension|n)?|extn)\b\.?|(?<=[\s0-9)])x|#|;ext=|(?<=[0-9])ext)"
    r"\s*[.:=]?\s*([0-9]{1,7})\s*$",
    re.IGNORECASE,
)
_SPREADSHEET_FORMULA = re.compile(r'^=\s*"(.*)"$')
_SCIENTIFIC = re.compile(r"^[0-9][.,]?[0-9]*E\+?[0-9]{1,2}$", re.IGNORECASE)
_FLOAT = re.compile(r"^([0-9]{10,11})[.,]0+$")
_PUNCTUATION = re.compile(r"[\s().\-/_~*]+")
_VANITY = re.compile(r"^(?:\+?1)?[2-9][0-9]{2}(?=[0-9A-Z]{7}$)[0-9]*[A-Z]{3,}[0-9]*$")
_EMBEDDED = re.compile(
    r"(?<![0-9+])(?:\+?1[-. ]?)?\(?[2-9][0-9]{2}\)?[-. ]{0,2}[2-9][0-9]{2}[-. ]?[0-9]{4}(?![0-9])"
)
_SEPARATOR = re.compile(r"\s*(?:[/|;&,\n]|\bor\b|\band\b)\s*", re.IGNORECASE)
_MAX_CHARACTERS = 100
_SUBSCRIBER_DIGITS = 10
_FULL_DIGITS = 11


class InvalidPhoneError(InvalidError):
    """The text is not a phone number of the United States or Canada."""

    code = "invalid_phone"
    title = "Invalid phone number"
    example = Example("The number is too short: ten digits are needed.")

    def __init__(self, detail: str, *, pointer: str = "/phone") -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


def parse_phone(text: str, *, pointer: str = "/phone") -> str:
    """Convert a US or Canadian phone number to E.164, such as ``+16175550123``.

    The text may contain words, full-width digits, letters of the key pad (``1-800-FLOWERS``) and
    the format of a spreadsheet (``6.175550123E+09``). An extension (``x204``) is left out.
    Fictional numbers (555) are accepted.

    Args:
        pointer: JSON pointer to the field, for the error.

    Raises:
        InvalidPhoneError: The text is not a US or Canadian phone number. The detail gives the
            reason, without the number.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return _parse_unusual(text, pointer)
    area, exchange, rest = plain.groups()
    return _checked(area + exchange + rest, pointer)


def is_plain(text: str) -> bool:
    """Return whether a text is one phone number in a plain format, without label and extension."""
    return _PLAIN.fullmatch(text) is not None


def split_extension(text: str) -> tuple[str, str | None]:
    """Separate a phone number and its extension.

    ``"617 555 0123 x204"`` becomes ``("617 555 0123", "204")``.

    Returns:
        The text without the extension, and the digits of the extension. If there is no extension:
        the text and None.
    """
    found = _EXTENSION.search(text)
    if found is None:
        return text, None
    return text[: found.start()], found.group(1)


def split_numbers(text: str) -> list[str]:
    """Split the text of a table cell into its phone numbers.

    ``"a / b"`` and ``"a or b"`` become ``["a", "b"]`` if at least two parts have ten digits or
    more. Any other text is returned as ``[text]``.
    """
    parts = [part for part in _SEPARATOR.split(text) if part]
    if sum(1 for part in parts if _digit_count(part) >= _SUBSCRIBER_DIGITS) > 1:
        return parts
    return [text]


def _parse_unusual(text: str, pointer: str) -> str:
    if len(text) > _MAX_CHARACTERS:
        _refuse("This is too long to be a phone number.", pointer)
    cleaned = _clean(text)
    if not cleaned:
        _refuse("The phone number is empty.", pointer)
    if _SCIENTIFIC.match(cleaned):
        cleaned = _expand_scientific(cleaned, pointer)
    if as_float := _FLOAT.match(cleaned):
        cleaned = as_float.group(1)
    cleaned, _ = split_extension(_LABEL.sub("", cleaned, count=1))
    compact = _PUNCTUATION.sub("", cleaned)
    if compact.startswith(("+", "00", "011")) and not compact.startswith(("+1", "001")):
        _refuse_foreign(compact, pointer)
    digits = compact.removeprefix("00").removeprefix("+") if compact[:1] in "+0" else compact
    if digits.isascii() and digits.isdigit() and len(digits) < 2 * _SUBSCRIBER_DIGITS:
        return _checked(_subscriber_number(digits, pointer), pointer)
    if _VANITY.match(compact.upper()):
        digits = phonenumbers.convert_alpha_characters_in_number(compact.upper())
        return _checked(_subscriber_number(digits.removeprefix("+"), pointer), pointer)
    return _checked(_only_number_amid_words(cleaned, pointer), pointer)


def _clean(text: str) -> str:
    """Replace full-width characters, dashes and spaces by ASCII; remove invisible characters."""
    normal = unicodedata.normalize("NFKC", text)
    kept = []
    for character in normal:
        category = unicodedata.category(character)
        if category in {"Pd", "Sm"} and character not in "+=~|":
            kept.append("-")
        elif category.startswith("Z") or character in "\t\r\n":
            kept.append(" ")
        elif category == "Nd":
            kept.append(str(unicodedata.digit(character)))
        elif not category.startswith("C"):
            kept.append(character)
    cleaned = "".join(kept).strip().removeprefix("'").strip()
    formula = _SPREADSHEET_FORMULA.match(cleaned)
    return formula.group(1).strip() if formula else cleaned


def _expand_scientific(text: str, pointer: str) -> str:
    """Expand ``6.175550123E+09``. Refuse the number if the spreadsheet rounded its last digits."""
    mantissa, _, exponent = text.upper().replace(",", ".").partition("E")
    significant = len(mantissa.replace(".", ""))
    if significant <= int(exponent):
        _refuse(
            "The spreadsheet shortened this number and its last digits are lost; format the "
            "column as text and export it again.",
            pointer,
        )
    try:
        return str(int(Decimal(text.replace(",", "."))))
    except (InvalidOperation, ValueError):
        _refuse("This is not a phone number.", pointer)


def _subscriber_number(digits: str, pointer: str) -> str:
    """Return the ten digits of a phone number, without the country code 1."""
    if len(digits) == _FULL_DIGITS and digits.startswith("1"):
        return digits[1:]
    if len(digits) < _SUBSCRIBER_DIGITS:
        missing = " the area code is missing" if len(digits) == 7 else " ten digits are needed"  # noqa: PLR2004 - a local number
        _refuse(f"The number is too short:{missing}.", pointer)
    if len(digits) > _SUBSCRIBER_DIGITS:
        _refuse("The number is too long: ten digits are needed.", pointer)
    return digits


def _only_number_amid_words(text: str, pointer: str) -> str:
    found = _EMBEDDED.findall(text)
    if len(found) > 1:
        _refuse("The text contains more than one phone number.", pointer)
    digits = _digit_count(text)
    if not found or _digit_count(found[0]) != digits:
        _refuse(
            "The text contains no phone number."
            if digits < _SUBSCRIBER_DIGITS
            else "The text is not a US or Canadian phone number.",
            pointer,
        )
    return _subscriber_number(re.sub(r"[^0-9]", "", found[0]), pointer)


def _checked(digits: str, pointer: str) -> str:
    """Check that ten digits have the form of the numbering plan; return the number in E.164."""
    if digits == digits[0] * _SUBSCRIBER_DIGITS:
        _refuse("All digits are the same; this is a placeholder, not a number.", pointer)
    if digits[0] in "01":
        _refuse("No area code begins with 0 or 1.", pointer)
    if digits[3] in "01":
        _refuse("The digit after the area code cannot be 0 or 1.", pointer)
    if digits[:3] in _OTHER_COUNTRIES:
        _refuse("This is not a US or Canadian number.", pointer)
    return "+1" + digits


def _refuse_foreign(compact: str, pointer: str) -> NoReturn:
    number = "+" + compact.removeprefix("+").removeprefix("011").removeprefix("00")
    try:
        country = phonenumbers.parse(number).country_code
    except phonenumbers.NumberParseException:
        _refuse("This is not a phone number of any country.", pointer)
    _refuse(
        f"This is not a US or Canadian number (country code +{country}); "
        "messages can be sent only to the United States and Canada.",
        pointer,
    )


def _digit_count(text: str) -> int:
    return sum(1 for character in text if character.isdigit())


def _refuse(detail: str, pointer: str) -> NoReturn:
    raise InvalidPhoneError(detail, pointer=pointer)
