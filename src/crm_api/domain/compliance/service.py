"""Shows the rules that are in force on a day."""

from datetime import date
from pathlib import Path

from crm_api.domain.compliance.loader import SHIPPED
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.compliance.schemas import RulesRead


def list_rules(book: RuleBook, *, on: date) -> RulesRead:
    """Return the rules of a book that hold on a day, in the order of its file."""
    rules = tuple(book.in_force(on))
    if book.name == NO_RULES.name:
        return RulesRead(on=on, rule_set="none", file=None, data=rules)
    if book.name == SHIPPED:
        return RulesRead(on=on, rule_set="us", file=None, data=rules)
    return RulesRead(on=on, rule_set="file", file=Path(book.name).name, data=rules)
