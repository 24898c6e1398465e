"""Clients with different addresses."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest_asyncio

from service.services import Services
from tests.support.api import Api, RunningService

At = Callable[[str], Api]


@pytest_asyncio.fixture
async def at(running: RunningService, service: Services) -> AsyncIterator[At]:
    """Makes clients with a given address, on empty tables."""
    async with AsyncExitStack() as stack:

        def client_at(ip: str) -> Api:
            client = running.client(ip=ip)
            stack.push_async_callback(client.aclose)
            return Api(client, service)

        yield client_at
