"""Past the router: the hottest operations have fixed paths, for which one look into a table is enough."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from service.api.operations import Operation
from service.api.pipeline import DirectEndpoint, OperationPipeline

_USER_ID = "{user_id:str}"
_ME = "me"


class _Way(NamedTuple):
    operation: Operation
    direct: DirectEndpoint
    template: str
    path_params: dict[str, str]


class ShortWays:
    """Takes requests for direct endpoints to their admission, and all others to the application.

    A path that names an account is taken for `me` alone. What is answered, and what is refused in which
    order, is the same on both ways: admission decides on either.
    """

    def __init__(
        self, app: ASGIApp, admission: OperationPipeline, endpoints: Iterable[HTTPRouteHandler]
    ) -> None:
        self._app = app
        self._admission = admission
        self._ways = dict(way for endpoint in endpoints for way in _ways_to(endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == ScopeType.HTTP:
            way = self._ways.get((scope["method"], scope["path"]))
            if way is not None:
                scope["path_template"], scope["path_params"] = way.template, way.path_params
                await self._admission.answer_directly(scope, receive, send, way.operation, way.direct)
                return
        await self._app(scope, receive, send)


def _ways_to(endpoint: HTTPRouteHandler) -> Iterator[tuple[tuple[str, str], _Way]]:
    operation, direct = endpoint.opt["operation"], endpoint.opt["direct"]
    for path in endpoint.paths:
        path_params = {"user_id": _ME} if _USER_ID in path else {}
        way = _Way(operation, direct, path.replace(":str}", "}"), path_params)
        for method in endpoint.http_methods:
            yield (method, path.replace(_USER_ID, _ME)), way
