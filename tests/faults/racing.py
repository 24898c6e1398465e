"""What the tests of concurrent logins share."""

import asyncio
import os
from collections.abc import Awaitable

import httpx

from service.services import Services
from tests.support.databases import execute

ROUNDS = int(os.environ.get("ROUNDS", "30"))


async def concurrently(*requests: Awaitable[httpx.Response]) -> list[httpx.Response]:
    responses = await asyncio.gather(*requests)
    assert all(response.status_code < 500 for response in responses), [
        response.text for response in responses
    ]
    return list(responses)


async def clear_throttle(service: Services) -> None:
    await execute(service.engine, "DELETE FROM network_buckets")
    await execute(service.engine, "DELETE FROM login_buckets")
