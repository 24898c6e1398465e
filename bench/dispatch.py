"""`python -m bench.dispatch`: the price of single layers of a request, in process and interleaved.

Processor time of one request, the best of many rounds in microseconds, so that a busy machine does not count.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import uvloop
from litestar import Litestar, asgi, get
from litestar.types import Receive, Scope, Send

from service.api.dispatch import RouteTable
from service.api.http.edge import EdgeMiddleware
from service.api.http.timeouts import CoarseTimer
from service.api.pipeline import OperationPipeline
from service.api.v1 import health

ROUNDS, REQUESTS = 200, 200
LIMIT = timedelta(seconds=9).total_seconds()
STEP_UP_TTL = timedelta(minutes=10)

pipeline = OperationPipeline(
    RouteTable([health.check_live], {}),
    authenticator=None,  # type: ignore[arg-type]
    step_up_ttl=STEP_UP_TTL,
)
timer = CoarseTimer()


async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    await pipeline(scope, receive, send)


@get("/health/live")
async def live() -> health.HealthView:
    return health.HealthView("ok")


def edge_around(*handlers: Any) -> EdgeMiddleware:
    return EdgeMiddleware(Litestar(handlers, openapi_config=None, logging_config=None))


async def respond(app: Any) -> None:
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "root_path": "",
        "path": "/health/live",
        "raw_path": b"/health/live",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, _receive, _send)


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Any) -> None:
    return


async def limit_by_shared_timer() -> None:
    timer.stop(timer.start(LIMIT))


async def limit_by_own_timer() -> None:
    async with asyncio.timeout(LIMIT):  # noqa: ASYNC100 - the timer alone is measured
        pass


async def measure(layers: dict[str, Callable[[], Awaitable[None]]]) -> None:
    best = dict.fromkeys(layers, float("inf"))
    for _ in range(ROUNDS):
        for name, run in layers.items():
            started_at = time.thread_time()
            for _ in range(REQUESTS):
                await run()
            best[name] = min(best[name], (time.thread_time() - started_at) / REQUESTS * 1e6)
    for name, spent_us in best.items():
        print(f"{name:52} {spent_us:6.1f} µs")


async def main() -> None:
    direct = EdgeMiddleware(pipeline)
    mount = edge_around(asgi("/", is_mount=True, copy_scope=False)(mounted))
    routed = edge_around(live)
    await measure(
        {
            "edge, table of operations": lambda: respond(direct),
            "edge, Litestar, mount, table of operations": lambda: respond(mount),
            "edge, Litestar's router and handler": lambda: respond(routed),
            "time limit by the shared timer": limit_by_shared_timer,
            "time limit by asyncio.timeout": limit_by_own_timer,
        }
    )


if __name__ == "__main__":
    uvloop.run(main())
