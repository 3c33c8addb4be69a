"""Check contact attributes against the custom fields, and convert values to the fields' types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crm_api.domain.kit.errors import FieldProblem, pointer_to
from crm_api.domain.people.custom_fields.errors import FieldValuesError
from crm_api.domain.people.custom_fields.value_types import MisfitError, normalise
from crm_api.domain.people.models.contacts import FieldType


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A custom field: the name of a contact attribute, and the rules for its values.

    Archived custom fields have no ``Definition``.
    """

    name: str
    type: FieldType
    choices: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeProblem:
    """A contact attribute that does not fit its custom field.

    The field ``value`` is the value that was given for the attribute; None if it is missing.
    """

    name: str
    value: Any
    code: str
    detail: str

    def at(self, pointer: str) -> FieldProblem:
        """Return the problem as an entry of ``errors`` in an error response.

        Args:
            pointer: The JSON pointer of the attributes in the request.
        """
        at = pointer + pointer_to([self.name])
        return FieldProblem(pointer=at, code=self.code, detail=self.detail)


@dataclass(frozen=True)
class Definitions:
    """All custom fields that are not archived, by name.

    They are read once per request, or once per chunk of an imported file.
    """

    by_name: Mapping[str, Definition] = field(default_factory=dict)

    def normalise(
        self, attributes: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[AttributeProblem]]:
        """Convert the attributes that have a custom field to the type of this field.

        Attributes without a custom field do not change.

        Returns:
            The attributes to store, and the problems. A value of a custom field is not stored if it
            has a problem, is null, or is an empty string.
        """
        taken: dict[str, Any] = {}
        problems: list[AttributeProblem] = []
        for name, value in attributes.items():
            wanted = self.by_name.get(name)
            if wanted is None:
                taken[name] = value
                continue
            try:
                normal = normalise(value, wanted.type, wanted.choices)
            except MisfitError as error:
                code = f"not_{wanted.type}"
                problem = AttributeProblem(name=name, value=value, code=code, detail=str(error))
                problems.append(problem)
            else:
                if normal is not None:
                    taken[name] = normal
        return taken, problems

    def complete(self, attributes: Mapping[str, Any], *, pointer: str) -> dict[str, Any]:
        """Check the attributes of a new contact, and return the attributes to store.

        Args:
            attributes: The attributes in the request.
            pointer: The JSON pointer of the attributes in the request, for errors.

        Raises:
            FieldValuesError: A value does not fit its custom field, or a required attribute is
                missing.
        """
        taken, problems = self.normalise(attributes)
        named = {problem.name for problem in problems}
        missing = [name for name in self._required() if name not in taken and name not in named]
        _raise([*problems, *map(_missing, missing)], pointer)
        return taken

    def merged(
        self, attributes: Mapping[str, Any] | None, *, pointer: str
    ) -> dict[str, Any] | None:
        """Check a change of a contact's attributes, and return the change with converted values.

        If a value is None, the change removes that attribute. If ``attributes`` is None, the change
        removes all attributes. The contact's other attributes are not checked.

        Raises:
            FieldValuesError: A value does not fit its custom field, or a required attribute would
                be removed.
        """
        if attributes is None:
            _raise([_missing(name) for name in self._required()], pointer)
            return None
        taken, problems = self.normalise(attributes)
        named = {problem.name for problem in problems}
        removed = [name for name in attributes if name not in taken and name not in named]
        cleared = [_missing(name) for name in removed if name in set(self._required())]
        _raise([*problems, *cleared], pointer)
        return {name: taken.get(name) for name in attributes}

    def _required(self) -> list[str]:
        return [name for name, wanted in self.by_name.items() if wanted.required]


def _missing(name: str) -> AttributeProblem:
    return AttributeProblem(
        name=name,
        value=None,
        code="required",
        detail="This attribute is required; give it a value.",
    )


def _raise(problems: Sequence[AttributeProblem], pointer: str) -> None:
    if not problems:
        return
    names = ", ".join(problem.name for problem in problems[:10])
    raise FieldValuesError(
        f"These attributes do not fit their custom fields: {names}. Correct the values that "
        "`errors` lists.",
        errors=[problem.at(pointer) for problem in problems],
    )
