"""The service on a scratch database, and requests to it without a socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeVar, cast

import httpx

from service.app import Application, create_app
from service.db.migrations.running import upgrade
from service.db.migrations.scratch import scratch_database
from service.observability.logging import configure_logs
from service.services import configured_database
from settings import Settings
from settings.log import LogSettings

ResultT = TypeVar("ResultT")
_NETWORKS = count()


def run_with_application(settings: Settings, work: Callable[[Application], Awaitable[ResultT]]) -> ResultT:
    """Run work on a scratch database beside the configured one; only errors are logged."""
    configure_logs(settings.model_copy(update={"log": LogSettings(level="error")}))
    with configured_database(settings) as dsn:
        return asyncio.run(_run(settings, dsn, work))


async def _run(settings: Settings, dsn: str, work: Callable[[Application], Awaitable[ResultT]]) -> ResultT:
    async with scratch_database(dsn) as scratch:
        await upgrade(scratch)
        return await work(create_app(settings, dsn=scratch))


async def post(app: Application, path: str, body: dict[str, str]) -> tuple[httpx.Response, float]:
    """Send a request from a network of its own; return its duration in ms too."""
    number = next(_NETWORKS)
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    # httpx and Litestar spell ASGI's types differently.
    transport = httpx.ASGITransport(app=cast(Any, app), client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        started_at = time.perf_counter()
        response = await client.post(path, json=body)
        return response, (time.perf_counter() - started_at) * 1000
