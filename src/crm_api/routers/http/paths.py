"""Find the methods of each path, and the media types of their request and response bodies.

The routes are read instead of the OpenAPI document, because the document takes longer to build.
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
        takes: Media types of the request body; empty if the method accepts no body.
        gives: Media types of the successful response; empty if the response has no body, or if its
            type is known only when the route runs.
    """

    takes: frozenset[str]
    gives: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class _RoutePaths:
    """The operations of all paths that match one pattern, such as ``/v1/tags/{tag}``."""

    pattern: re.Pattern[str]
    operations: dict[str, Operation]


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The routes of the API, to look up which methods and media types a path has.

    Attributes:
        routes: All routes.
        without_json_answer: The few routes that never respond with JSON.
        without_json_body: The few routes that accept a body but not JSON.
    """

    routes: tuple[_RoutePaths, ...]
    without_json_answer: tuple[_RoutePaths, ...]
    without_json_body: tuple[_RoutePaths, ...]

    def at(self, path: str) -> dict[str, Operation]:
        """Return the operations of a path, by method; empty if the path does not exist."""
        return _found(self.routes, path)

    def giving_no_json(self, path: str) -> dict[str, Operation]:
        """Return those operations of a path that never respond with JSON.

        This is faster than filtering all operations of the path.
        """
        return _found(self.without_json_answer, path)

    def taking_no_json(self, path: str) -> dict[str, Operation]:
        """Return those operations of a path that accept a request body, but not JSON.

        The keys are HTTP methods. This is faster than filtering all operations of the path.
        """
        return _found(self.without_json_body, path)

    def allowed(self, path: str) -> list[str]:
        """Return the sorted methods of a path, with HEAD and OPTIONS; empty for an unknown path."""
        found = set(self.at(path))
        if "GET" in found:
            found.add("HEAD")
        return sorted(found | {"OPTIONS"}) if found else []


def paths_of(state: State) -> Paths:
    """Return the ``Paths`` object that the application stored in its state at its start."""
    paths: Paths = state.paths
    return paths


def read_paths(routes: Iterable[APIRoute]) -> Paths:
    """Read paths, methods and media types from the routes."""
    found = tuple(_paths_of_route(route) for route in routes)
    return Paths(
        routes=found,
        without_json_answer=tuple(
            one for one in found if _lacks_json(op.gives for op in one.operations.values())
        ),
        without_json_body=tuple(
            one for one in found if _lacks_json(op.takes for op in one.operations.values())
        ),
    )


def _found(routes: Iterable[_RoutePaths], path: str) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for route in routes:
        if route.pattern.fullmatch(path):
            found = route.operations | found
    return found


def _lacks_json(kinds: Iterable[frozenset[str]]) -> bool:
    return any(one and JSON not in one for one in kinds)


def _paths_of_route(route: APIRoute) -> _RoutePaths:
    operation = Operation(takes=frozenset(_taken(route)), gives=frozenset(_given(route)))
    return _RoutePaths(
        pattern=_pattern(route), operations=dict.fromkeys(route.methods or (), operation)
    )


def _taken(route: APIRoute) -> Iterable[str]:
    described = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    if route.body_field is None:
        return list(described)
    own = FORM if isinstance(route.body_field.field_info, params.Form) else JSON
    return [own, *described]


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
    """Return the pattern for the paths of a route; an id in the path matches only a UUID."""
    ids = {
        field.alias for field in route.dependant.path_params if field.field_info.annotation is UUID
    }
    parts = re.split(r"\{(\w+)\}", route.path_format)
    for index in range(0, len(parts), 2):
        parts[index] = re.escape(parts[index])
    for index in range(1, len(parts), 2):
        convertor = route.param_convertors[parts[index]]
        parts[index] = _UUID if parts[index] in ids else f"(?:{convertor.regex})"
    return re.compile("".join(parts))
