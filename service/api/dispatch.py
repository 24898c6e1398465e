"""The table of operations: it finds the endpoint of a request and calls it with what it asks for."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias, get_type_hints

from service.api.http.response import Response
from service.api.operations import Endpoint, EndpointFunction, Operation
from service.api.requests import OperationRequest
from service.domain.errors import NotFound

Provider: TypeAlias = Callable[[OperationRequest], object]
Providers: TypeAlias = Mapping[object, Provider]
"""Type of a parameter → what makes the argument for a request."""

_PLACEHOLDER: Final = None
_Segments: TypeAlias = tuple[str | None, ...]


class Route(NamedTuple):
    """An operation, ready to be served."""

    operation: Operation
    placeholder: str | None
    serve: Callable[[OperationRequest], Awaitable[Response]]


class Resource(NamedTuple):
    """All operations of one path, by method."""

    path: str
    routes: dict[str, Route]

    @property
    def allow(self) -> bytes:
        """The value of `Allow`: HEAD is served wherever GET is, OPTIONS everywhere."""
        methods = {*self.routes, "OPTIONS"} | ({"HEAD"} if "GET" in self.routes else set())
        return ", ".join(sorted(methods)).encode()


class RouteTable:
    """Every operation by path and method. What is not in the table does not exist."""

    def __init__(self, endpoints: Iterable[Endpoint], providers: Providers) -> None:
        self._resources: dict[_Segments, Resource] = {}
        self._placeholders: set[int] = set()
        for operation, function in endpoints:
            segments, placeholder = self._parse(operation.path)
            resource = self._resources.setdefault(segments, Resource(operation.path, {}))
            if operation.method in resource.routes:
                raise ValueError(f"two operations serve {operation.method} {operation.path}")
            serve = bind(function, providers)
            resource.routes[operation.method.value] = Route(operation, placeholder, serve)

    def find(self, path: str) -> tuple[Resource, str]:
        """Return the resource of a decoded path and the text in place of its placeholder.

        An exact path wins over one with a placeholder.

        Raises:
            NotFound: no operation has such a path.
        """
        segments = tuple(path.strip("/").split("/"))
        if (resource := self._resources.get(segments)) is not None:
            return resource, ""
        for i in self._placeholders:
            key = (*segments[:i], _PLACEHOLDER, *segments[i + 1 :])
            if i < len(segments) and (resource := self._resources.get(key)) is not None:
                return resource, segments[i]
        raise NotFound

    def _parse(self, path: str) -> tuple[_Segments, str | None]:
        segments: list[str | None] = [*path.strip("/").split("/")]
        placeholder = None
        for i, segment in enumerate(segments):
            if segment is not None and segment.startswith("{"):
                placeholder, segments[i] = segment.strip("{}"), _PLACEHOLDER
                self._placeholders.add(i)
        return tuple(segments), placeholder


def bind(
    function: EndpointFunction, providers: Providers
) -> Callable[[OperationRequest], Awaitable[Response]]:
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
