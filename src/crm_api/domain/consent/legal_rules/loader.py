"""Load the legal rules of a process: the shipped rules, the rules of a file, or none."""

from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.consent.legal_rules.schemas import RuleFile
from crm_api.platform.settings import SettingsError

SHIPPED = "us"
_LARGEST_FILE = 1_000_000


def load_rules(name: str) -> RuleBook:
    """Load the rules that ``CRM_COMPLIANCE_RULES`` names.

    Args:
        name: ``us``, ``none``, or the path of a JSON file in the format of the shipped ``us.json``.

    Raises:
        SettingsError: The file cannot be read, or a rule in it is invalid. The message is one line
            that names the setting and the field.
    """
    if name == NO_RULES.name:
        return NO_RULES
    if name == SHIPPED:
        text = resources.files(__package__).joinpath("us.json").read_bytes()
        return RuleBook(RuleFile.model_validate_json(text).rules, name=SHIPPED)
    try:
        with Path(name).open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise SettingsError(
            f"CRM_COMPLIANCE_RULES: the rule file cannot be read: {error.strerror}"
        ) from error
    if len(text) > _LARGEST_FILE:
        raise SettingsError("CRM_COMPLIANCE_RULES: the rule file is larger than 1 megabyte")
    try:
        return RuleBook(RuleFile.model_validate_json(text).rules, name=name)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = " ".join(str(first["msg"]).split())
    return f"CRM_COMPLIANCE_RULES: {field.lstrip('.') or 'the file'}: {message}"
