"""The table of operations: it finds the endpoint of a request and calls it with what it asks for."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias, get_type_hints

from service.api.http.response import HeaderFields, Response
from service.api.operations import Endpoint, EndpointFunction, Operation
from service.api.requests import OperationRequest
from service.domain.errors import NotFound

Provider: TypeAlias = Callable[[OperationRequest], object]
Providers: TypeAlias = Mapping[object, Provider]
"""Type of a parameter → what makes the argument for a request."""

USER_ID: Final = "user_id"
ME: Final = "me"
"""In a path, `me` in place of `{user_id}` stands for the caller's own id."""

_Handler: TypeAlias = Callable[[OperationRequest], Awaitable[Response]]
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class Route(NamedTuple):
    """An operation with the function that serves it, its arguments bound."""

    operation: Operation
    serve: _Handler


class Resource(NamedTuple):
    """The operations of one path, by method. The path has at most one placeholder."""

    path: str
    placeholder: str | None
    routes: dict[str, Route]

    @property
    def headers(self) -> HeaderFields:
        """The header that names what the path takes: HEAD wherever GET, OPTIONS everywhere.

        Source: RFC 9110 10.2.1, RFC 5789 3.1.
        """
        methods = {*self.routes, "OPTIONS"} | ({"HEAD"} if "GET" in self.routes else set())
        allow = (b"allow", ", ".join(sorted(methods)).encode())
        if (patch := self.routes.get("PATCH")) is None:
            return (allow,)
        return (allow, (b"accept-patch", ", ".join(patch.operation.body_types).encode()))


class RouteTable:
    """Every operation by path and method. What is not in the table does not exist."""

    def __init__(self, endpoints: Iterable[Endpoint], providers: Providers) -> None:
        self._exact: dict[str, Resource] = {}
        self._templates: dict[tuple[str, ...], Resource] = {}
        for operation, function in endpoints:
            resource = self._resource(operation.path)
            if operation.method in resource.routes:
                raise ValueError(f"two operations serve {operation.method} {operation.path}")
            resource.routes[operation.method.value] = Route(operation, bind(function, providers))
        self._placeholders = {template.index("{}") for template in self._templates}

    def find(self, path: str) -> tuple[Resource, str]:
        """Return the resource of a decoded path, and the text in place of its placeholder.

        An exact path wins over one with a placeholder; one with `me` is exact.

        Raises:
            NotFound: no operation has such a path.
        """
        if (resource := self._exact.get(path)) is not None:
            return resource, ME
        segments = path.split("/")
        for i in self._placeholders:
            template = (*segments[:i], "{}", *segments[i + 1 :])
            if i < len(segments) and (resource := self._templates.get(template)) is not None:
                return resource, segments[i]
        raise NotFound

    def _resource(self, path: str) -> Resource:
        """Return the resource of a path; the first operation of the path makes it."""
        found = _PLACEHOLDER.search(path)
        if found is None:
            return self._exact.setdefault(path, Resource(path, None, {}))
        template = tuple(_PLACEHOLDER.sub("{}", path).split("/"))
        resource = self._templates.setdefault(template, Resource(path, found[1], {}))
        if found[1] == USER_ID:
            self._exact[path.replace(found[0], ME)] = resource
        return resource


def bind(function: EndpointFunction, providers: Providers) -> _Handler:
    """Return `function` with its arguments made from the request, by the types of its parameters.

    Raises:
        TypeError: nothing provides the type of a parameter.
    """
    hints = get_type_hints(function)
    del hints["return"]
    if missing := [f"{name}: {type_}" for name, type_ in hints.items() if type_ not in providers]:
        raise TypeError(f"nothing provides {', '.join(missing)} for {function.__qualname__}")
    arguments = tuple(providers[type_] for type_ in hints.values())
    return lambda request: function(*[provide(request) for provide in arguments])
