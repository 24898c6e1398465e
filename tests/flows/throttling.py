"""What the tests of the login throttle share."""

from datetime import timedelta

import httpx

from service.services import Services
from settings.database import DatabaseSettings
from settings.http import HttpSettings
from settings.throttle import ThrottleSettings
from tests.support.api import OTHER_PASSWORD, Api
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

# Longer than the time between two attempts on the slowest machine.
INITIAL_BACKOFF_S = 60
SETTINGS = settings_for_tests(
    throttle=ThrottleSettings(initial_backoff=timedelta(seconds=INITIAL_BACKOFF_S)),
    database=DatabaseSettings(pool_timeout=timedelta(seconds=30)),
    http=HttpSettings(request_timeout=timedelta(minutes=1)),
)
WRONG = OTHER_PASSWORD
HOME, ABROAD = "198.51.100.7", "203.0.113.66"


async def guess(api: Api, login_id: str = "ada", count: int = 1, **more: str) -> list[int]:
    return [(await api.log_in(login_id, WRONG, **more)).status_code for _ in range(count)]


async def expire_backoff(service: Services) -> None:
    """End every backoff."""
    await execute(service.engine, "UPDATE login_buckets SET blocked_until = now()")


async def age(service: Services, by: str) -> None:
    """Make all counts older."""
    await execute(
        service.engine,
        "UPDATE login_buckets SET blocked_until = blocked_until - CAST(CAST(:span AS text) AS interval),"
        " hour_started_at = hour_started_at - CAST(CAST(:span AS text) AS interval),"
        " updated_at = updated_at - CAST(CAST(:span AS text) AS interval)",
        span=by,
    )
    await execute(
        service.engine,
        "UPDATE network_buckets SET"
        " minute_started_at = minute_started_at - CAST(CAST(:span AS text) AS interval),"
        " hour_started_at = hour_started_at - CAST(CAST(:span AS text) AS interval)",
        span=by,
    )


async def clear_networks(service: Services) -> None:
    await execute(service.engine, "DELETE FROM network_buckets")


async def bucket_counts(service: Services) -> list[tuple[object, ...]]:
    return await fetch_values(service.engine, "SELECT failures FROM login_buckets ORDER BY failures")


def assert_throttled(answer: httpx.Response) -> int:
    assert answer.status_code == 429
    assert answer.json()["code"] == "login_throttled"
    assert answer.headers["Retry-After"].isdecimal()
    return int(answer.headers["Retry-After"])
