"""What the API has at a path: its methods, and what each takes and gives.

Read from the routes, not from the document, which takes seconds to make.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from starlette.datastructures import State

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
_UUID = "[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of a path.

    Attributes:
        takes: Media types of its request; none when it takes no body.
        gives: Media types of its answer when all is well; none when that has no body, or when
            only the route knows.
    """

    takes: frozenset[str]
    gives: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What one route has, at all paths that fit its pattern."""

    pattern: re.Pattern[str]
    operations: dict[str, Operation]


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Every path of the API.

    Attributes:
        places: All of them.
        unusual: Those that give something, but no JSON.
        forms: Those that take a form, but no JSON.
    """

    places: tuple[_Place, ...]
    unusual: tuple[_Place, ...]
    forms: tuple[_Place, ...]

    def at(self, path: str) -> dict[str, Operation]:
        """Return the operations of a path; none when there is no such path."""
        return _found(self.places, path)

    def giving_no_json(self, path: str) -> dict[str, Operation]:
        """Return those operations of a path that give something else; few routes are asked."""
        return _found(self.unusual, path)

    def taking_no_json(self, path: str) -> dict[str, Operation]:
        """Return those operations of a path that take something else; few routes are asked."""
        return _found(self.forms, path)

    def allowed(self, path: str) -> list[str]:
        """Return the methods that a path takes; none when there is no such path."""
        found = set(self.at(path))
        if "GET" in found:
            found.add("HEAD")
        return sorted(found | {"OPTIONS"}) if found else []


def paths_of(state: State) -> Paths:
    """Return the paths that the application has put into its state."""
    paths: Paths = state.paths
    return paths


def read_paths(routes: Iterable[APIRoute]) -> Paths:
    """Read what the routes have."""
    places = tuple(_place(route) for route in routes)
    return Paths(
        places=places,
        unusual=tuple(one for one in places if _lacks_json(op.gives for op in _all(one))),
        forms=tuple(one for one in places if _lacks_json(op.takes for op in _all(one))),
    )


def _found(places: Iterable[_Place], path: str) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for place in places:
        if place.pattern.fullmatch(path):
            found = place.operations | found
    return found


def _all(place: _Place) -> Iterable[Operation]:
    return place.operations.values()


def _lacks_json(kinds: Iterable[frozenset[str]]) -> bool:
    return any(one and JSON not in one for one in kinds)


def _place(route: APIRoute) -> _Place:
    operation = Operation(takes=frozenset(_taken(route)), gives=frozenset(_given(route)))
    return _Place(pattern=_pattern(route), operations=dict.fromkeys(route.methods or (), operation))


def _taken(route: APIRoute) -> Iterable[str]:
    described = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    if described:
        return list(described)
    if route.body_field is None:
        return []
    return [FORM] if isinstance(route.body_field.field_info, params.Form) else [JSON]


def _given(route: APIRoute) -> Iterable[str]:
    if route.status_code == HTTPStatus.NO_CONTENT:
        return []
    described: dict[str, Any] = {}
    for status, answer in route.responses.items():
        if str(status).startswith("2"):
            described |= answer.get("content", {})
    is_json = isinstance(route.response_class, DefaultPlaceholder)
    return [JSON, *described] if is_json else list(described)


def _pattern(route: APIRoute) -> re.Pattern[str]:
    """Return what matches a route's paths; where an id stands, nothing of another shape."""
    ids = {
        field.alias for field in route.dependant.path_params if field.field_info.annotation is UUID
    }
    parts = re.split(r"\{(\w+)\}", route.path_format)
    for place in range(0, len(parts), 2):
        parts[place] = re.escape(parts[place])
    for place in range(1, len(parts), 2):
        convertor = route.param_convertors[parts[place]]
        parts[place] = _UUID if parts[place] in ids else f"(?:{convertor.regex})"
    return re.compile("".join(parts))
